-- Lets a dead or cancelled job wait again, with no attempts and no crashes counted.
--
-- ARGV 1 id  2 crashes allowed  3-6 retention, as in exchange.lua
--
-- Returns 'done', 'unknown', 'P' where the job has not ended, or its state where it is another.
--
-- Invariant: as in exchange.lua. Resent, the job has not ended. Time is the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include places
-- @include finish
-- @include requeue

local id = ARGV[1]
local keep = read_retention(3)
local env = redis.call('HGET', jobs, id)
if not env or is_expired(env, keep, now) then return 'unknown' end
local job = read_header(env)
if job.state ~= 'X' and job.state ~= 'K' then return job.state end

redis.call('ZREM', shelf_of(job, keep), job.state .. id)
redis.call('HINCRBY', meta, COUNTERS[job.state], -1)
local promoted = promote(now)
job.state = 'P'
job.attempts, job.crashes, job.finished_at, job.due_at = 0, 0, 0, now
move(id, env, job, 'B', nil, tonumber(ARGV[2]), keep, now)
flush_moves()
-- Where it is the last run of a schedule, that has not ended any more.
redis.call('HDEL', runs, id)
local to_wake = promoted + arrived
-- @include wake
return 'done'
