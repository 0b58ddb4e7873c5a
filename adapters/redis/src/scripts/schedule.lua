-- Defines a schedule of this queue.
--
-- ARGV 1 id  2 definition, as JSON  3 next occurrence in ms, or -  4 when that is due, or -
--      5 whether it is enabled, 1 or 0  6 the limit of its runs, or -  7 the channel on which
--      schedules are told of  8 a revision that it had in another queue, or 0
--      9-12 how many fired, overlapped and missed there, and whether it was paused; else 0
--
-- Returns 'created', 'replaced', or 'unchanged': then its next occurrence and revision stay.
--
-- Invariant: a schedule's revision never falls, also over its removal. An active schedule is in
--      `due_schedules` by when it is looked at. Resent, it is unchanged.

-- @include chunks
-- @include envelope
-- @include schedule

local stored = redis.call('HGET', schedules, ARGV[1])
local answer, s = 'created', nil
if stored then
  s = read_schedule(stored)
  if s.definition == ARGV[2] then return 'unchanged' end
  answer = 'replaced'
  s.revision = math.max(tonumber(s.revision), tonumber(ARGV[8]))
else
  s = {
    job = NO_JOB, hand = NO_JOB, last = '-', hand_at = '-', queued = '-', fired = ARGV[9],
    overlapped = ARGV[10], missed = ARGV[11], paused = ARGV[12], made_by = '-',
  }
  s.revision = math.max(tonumber(ARGV[8]), tonumber(redis.call('HGET', meta, 'retired') or 0))
end
s.revision = whole(s.revision + 1)
s.next, s.due, s.enabled, s.definition = ARGV[3], ARGV[4], ARGV[5], ARGV[2]
if ARGV[6] ~= '-' and tonumber(s.fired) >= tonumber(ARGV[6]) then s.next, s.due = '-', '-' end
local is_running = false
if s.queued ~= '-' then
  for _, env in ipairs(redis.call('HMGET', jobs, s.job, s.hand)) do
    is_running = is_running or env and is_pending(env)
  end
end
redis.call('HSET', schedules, ARGV[1], write_schedule(s))
local at = looked_at(s, is_running)
if at then
  redis.call('ZADD', due_schedules, at, ARGV[1])
else
  redis.call('ZREM', due_schedules, ARGV[1])
end
redis.call('PUBLISH', ARGV[7], ARGV[1])
return answer
