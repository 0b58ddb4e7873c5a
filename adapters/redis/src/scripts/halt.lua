-- Pauses a schedule of this queue, or resumes it.
--
-- ARGV 1 id  2 1 to pause it, 0 to resume it  3 where it is resumed, its next occurrence in ms, or
--      NONE  4 when that is due, or NONE  5 the channel on which schedules are told of
--
-- Returns 1; 0: there is none, or it was so already. Resent, it is 0.
--
-- Invariant: as in schedule.lua.

-- @include chunks
-- @include envelope
-- @include schedule

local stored = redis.call('HGET', schedules, ARGV[1])
if not stored then return 0 end
local s = read_schedule(stored)
if s.paused == ARGV[2] then return 0 end
s.paused = ARGV[2]
if ARGV[2] == '0' then s.next, s.due = tonumber(ARGV[3]), tonumber(ARGV[4]) end
save_schedule(ARGV[1], s)
redis.call('PUBLISH', ARGV[5], ARGV[1])
return 1
