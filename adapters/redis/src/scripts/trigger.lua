-- Makes a schedule's job by hand, apart from its cadence.
--
-- ARGV 1 id of the schedule  2 its revision  3 crashes allowed  4-7 retention, as in exchange.lua
--      8 1: it may stand beside another run  9 id of the job  10 its priority  11 its body  12 1 where
--      it is kept for its result  13 for how long in ms
--
-- Returns {'enqueued'}, also where the job was made before; {'overlapped', job}: that run is not
--      settled; {'stale'}: the schedule has another revision, or is no more.
--
-- Invariant: next occurrence, last run and counts stay. Resent, it is known by its job's id. Time is
--      the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include schedule
-- @include places
-- @include finish

local stored = redis.call('HGET', schedules, ARGV[1])
local s = stored and read_schedule(stored)
if not s or s.revision ~= tonumber(ARGV[2]) then return { 'stale' } end
local id = ARGV[9]
if s.hand == id then return { 'enqueued' } end
local keep = read_retention(4)
local found = redis.call('HMGET', jobs, id, s.job, s.hand)
local env = found[1]
if env and is_expired(env, keep, now) then
  forget(id, env, keep)
  env = nil
end
if env then return { 'enqueued' } end
if ARGV[8] ~= '1' then
  if found[2] and is_pending(found[2]) then return { 'overlapped', s.job } end
  if found[3] and is_pending(found[3]) then return { 'overlapped', s.hand } end
end
local to_wake = promote(now) + 1
local header = write_header({
  state = 'P', priority = ARGV[10], cancel = '-', solo = '-', stamp = tonumber(ARGV[12]),
  attempts = 0, crashes = 0, enqueued_at = now, due_at = now, finished_at = 0,
  keep = tonumber(ARGV[13]),
})
redis.call('HSET', jobs, id, header .. ARGV[11])
local entry = entry_of(id, header)
if must_run_alone(0, tonumber(ARGV[3])) then
  add_solo(entry, tonumber(ARGV[10]), false)
else
  redis.call('RPUSH', waiting[tonumber(ARGV[10]) + 1], entry)
end
if s.hand ~= NO_JOB then redis.call('HDEL', runs, s.hand) end
s.hand, s.hand_at = id, now
redis.call('HSET', schedules, ARGV[1], write_schedule(s))
-- @include wake
return { 'enqueued' }
