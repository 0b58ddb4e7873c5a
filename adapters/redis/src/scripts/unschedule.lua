-- Removes a schedule of this queue. Its jobs stay.
--
-- ARGV 1 id
--
-- Returns the revision it had; 0: there was none.
--
-- Invariant: as in schedule.lua. Resent, there is none.

-- @include chunks
-- @include schedule

local stored = redis.call('HGET', schedules, ARGV[1])
if not stored then return 0 end
local s = read_schedule(stored)
local revision = s.revision
redis.call('HDEL', schedules, ARGV[1])
redis.call('HDEL', definitions, ARGV[1])
redis.call('ZREM', due_schedules, ARGV[1])
redis.call('HDEL', runs, s.job, s.hand)
remember_made(s.last)
local retired = tonumber(redis.call('HGET', meta, 'retired') or 0)
if revision > retired then redis.call('HSET', meta, 'retired', whole(revision)) end
return revision
