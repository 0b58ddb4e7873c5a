-- Takes a schedule of this queue back to an occurrence that was passed over.
--
-- ARGV 1 id  2 its revision  3 its next occurrence, ms  4 the one that comes next instead  5 when that
--      is due  6 the channel on which schedules are told of
--
-- Returns 1 where it has gone back so, else 0. Resent, it is 1.
--
-- Invariant: as in schedule.lua. It goes back once, until it is again where it was.

-- @include chunks
-- @include envelope
-- @include schedule

local stored = redis.call('HGET', schedules, ARGV[1])
if not stored then return 0 end
local s = read_schedule(stored)
local next, earlier = tonumber(ARGV[3]), tonumber(ARGV[4])
if s.revision ~= tonumber(ARGV[2]) then return 0 end
if s.next == earlier and s.resume == next then return 1 end
if s.next ~= next or earlier >= next then return 0 end
if s.resume ~= NONE or earlier < s.from or earlier >= s.upto then return 0 end
s.next, s.due, s.resume = earlier, tonumber(ARGV[5]), next
save_schedule(ARGV[1], s)
redis.call('PUBLISH', ARGV[6], ARGV[1])
return 1
