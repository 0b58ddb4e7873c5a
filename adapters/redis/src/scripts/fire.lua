-- Fires an occurrence of a schedule: makes its job or counts why not, and moves on to the next.
--
-- ARGV 1 id of the schedule  2 its revision  3 the occurrence  4 the one that a job is made for,
--      or -  5 how many were missed  6 the next, or -  7 1: enabled  8 1: skips where the last run
--      is not settled  9 the channel on which changes of schedules are told
--      10 id of the job  11 its priority  12 its body  13 1 where it is kept for its result  14 for
--      how long in ms  15 crashes allowed  16-19 retention, as in exchange.lua
--      7, 8 and 10 to 14 are as the definition of that revision says.
--
-- Returns 'job', 'overlapped', 'missed', 'early' (not due by the server's clock) or 'stale' (it has
--      another revision or next occurrence, is disabled or no more). The last two change nothing.
--
-- Invariant: an occurrence is moved past in the step that makes its job. Resent, the schedule has
--      moved on, and is known by the firing that made its last job. Time is the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include places
-- @include finish

local stored = redis.call('HGET', schedules, ARGV[1])
if not stored then return 'stale' end
local revision, next, last, job, fired, overlapped, missed, made_by, definition =
  string.match(stored, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)\n(.*)$')
local firing = table.concat({ ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6] }, ':')
if revision ~= ARGV[2] or next ~= ARGV[3] or ARGV[7] ~= '1' then
  return made_by == firing and 'job' or 'stale'
end
if tonumber(ARGV[3]) > now then return 'early' end

local answer = 'missed'
if ARGV[4] ~= '-' then
  answer = 'job'
  if ARGV[8] == '1' and job ~= '-' then
    local id = string.gsub(job, '%x%x', function(byte) return string.char(tonumber(byte, 16)) end)
    local previous = redis.call('HGET', jobs, id)
    if previous and is_pending(previous) then answer = 'overlapped' end
  end
end
if answer == 'job' then
  local keep = read_retention(16)
  local arrived = promote(now)
  local id = ARGV[10]
  local env = redis.call('HGET', jobs, id)
  if env and is_expired(env, keep, now) then
    forget(id, env, keep)
    env = nil
  end
  -- Where the job is known already, an earlier definition of the schedule has made it.
  if not env then
    local header = write_header({
      state = 'P', priority = ARGV[11], cancel = '-', solo = '-', stamp = tonumber(ARGV[13]),
      attempts = 0, crashes = 0, enqueued_at = now, due_at = now, finished_at = 0,
      keep = tonumber(ARGV[14]),
    })
    redis.call('HSET', jobs, id, header .. ARGV[12])
    local entry = entry_of(id, header)
    if must_run_alone(0, tonumber(ARGV[15])) then
      add_solo(entry, tonumber(ARGV[11]), false)
    else
      redis.call('RPUSH', waiting[tonumber(ARGV[11]) + 1], entry)
    end
    arrived = arrived + 1
  end
  last = ARGV[4]
  job = string.gsub(id, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
  job = #id == 16 and job or '-'
  fired = tonumber(fired) + 1
  made_by = firing
  local to_wake = arrived
  -- @include wake
elseif answer == 'overlapped' then
  overlapped = tonumber(overlapped) + 1
end
missed = tonumber(missed) + tonumber(ARGV[5])
redis.call('HSET', schedules, ARGV[1], table.concat({ revision, ARGV[6], last, job, whole(fired),
  whole(overlapped), whole(missed), made_by }, ' ') .. '\n' .. definition)
redis.call('PUBLISH', ARGV[9], ARGV[1])
return answer
