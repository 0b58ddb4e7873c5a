-- Removes a schedule of this queue. Its jobs stay.
--
-- ARGV 1 id  2 the channel on which changes of schedules are told
--
-- Returns the revision it had; 0: there was none.
--
-- Invariant: as in schedule.lua. Resent, there is none.

-- @include chunks

local stored = redis.call('HGET', schedules, ARGV[1])
if not stored then return 0 end
local revision = tonumber(string.match(stored, '^(%d+)'))
redis.call('HDEL', schedules, ARGV[1])
local retired = tonumber(redis.call('HGET', meta, 'retired') or 0)
if revision > retired then redis.call('HSET', meta, 'retired', whole(revision)) end
redis.call('PUBLISH', ARGV[2], ARGV[1])
return revision
