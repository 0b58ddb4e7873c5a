-- Defines a schedule of this queue.
--
-- ARGV 1 id  2 definition, as JSON  3 next occurrence in ms, or NONE  4 when that is due, or NONE
--      5 whether it is enabled, 1 or 0  6 the limit of its runs; 0: there is none  7 the channel on
--      which schedules are told of  8 a revision that it had in another queue, or 0
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
  local definition = redis.call('HGET', definitions, ARGV[1])
  if definition and string.sub(definition, 9) == ARGV[2] then return 'unchanged' end
  s = read_schedule(stored)
  answer = 'replaced'
  s.revision = math.max(s.revision, tonumber(ARGV[8]))
else
  s = {
    job = NO_JOB, hand = NO_JOB, last = NONE, hand_at = NONE, queued = NONE,
    version = 0, fired = tonumber(ARGV[9]), overlapped = tonumber(ARGV[10]), missed = tonumber(ARGV[11]),
    paused = ARGV[12], made_by = NO_FIRING,
  }
  s.revision = math.max(tonumber(ARGV[8]), tonumber(redis.call('HGET', meta, 'retired') or 0))
end
s.revision = s.revision + 1
s.from, s.upto, s.resume = NONE, NONE, NONE
s.next, s.due, s.enabled = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local limit = tonumber(ARGV[6])
if limit > 0 and s.fired >= limit then s.next, s.due = NONE, NONE end
save_schedule(ARGV[1], s)
redis.call('HSET', definitions, ARGV[1], struct.pack('>I8', s.revision) .. ARGV[2])
redis.call('PUBLISH', ARGV[7], ARGV[1])
return answer
