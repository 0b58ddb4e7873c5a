-- What is stored of a schedule that changes, of fixed width. Its definition stands in `definitions`,
-- behind the revision that it is of: firing needs none of it.
--
--   1-16    the job of its last run; 16 zeros: there is none
--   17-32   the job of its last run by hand
--   33-40   next occurrence, 41-48 when that is due, 49-56 last occurrence, 57-64 when the last run by
--           hand was asked for, 65-72 the occurrence that is queued; NONE: there is none
--   73-80   revision, 81-88 the version: how often this was written
--   89-96   how many fired, 97-104 overlapped, 105-112 missed
--   113     1 where it is enabled, 114 1 where it is paused, else 0
--   115-147 the firing that made the last job; 33 zeros: there is none
--   where occurrences were passed over, 148-155 the first of them, 156-163 the one that comes after
--           them, 164-171 where it was rewound to them, the one that it was at; else NONE
--
-- Of one revision and version, a schedule has one state.
local STATE = '>c16c16i8i8i8i8i8I8I8I8I8I8c1c1c33'
local REVISION_AT, VERSION_END = 73, 88
local PASSED, PASSED_AT = '>i8i8i8', 148
local NONE = -9007199254740992
local NO_JOB, NO_FIRING = string.rep('\0', 16), string.rep('\0', 33)

local function read_schedule(stored)
  local job, hand, next, due, last, hand_at, queued, revision, version, fired, overlapped, missed,
    enabled, paused, made_by = struct.unpack(STATE, stored)
  local from, upto, resume = NONE, NONE, NONE
  if #stored >= PASSED_AT then from, upto, resume = struct.unpack(PASSED, stored, PASSED_AT) end
  -- Made with all of its fields: a table that grows is made anew each time.
  return {
    job = job, hand = hand, next = next, due = due, last = last, hand_at = hand_at,
    queued = queued, revision = revision, version = version, fired = fired, overlapped = overlapped,
    missed = missed, enabled = enabled, paused = paused, made_by = made_by, from = from, upto = upto,
    resume = resume,
  }
end

local function write_schedule(s)
  local state = struct.pack(STATE, s.job, s.hand, s.next, s.due, s.last, s.hand_at, s.queued,
    s.revision, s.version + 1, s.fired, s.overlapped, s.missed, s.enabled, s.paused, s.made_by)
  if s.upto == NONE then return state end
  return state .. struct.pack(PASSED, s.from, s.upto, s.resume)
end

-- Remembers of what is stored no more, or gone back, up to when it had jobs made: of a later occurrence
-- than that and than its schedule's last, there is no job.
local function remember_made(upto)
  if upto > tonumber(redis.call('HGET', meta, 'made_upto') or NONE) then
    redis.call('HSET', meta, 'made_upto', whole(upto))
  end
end

-- When the next occurrence of what is stored is due, and the occurrence that is queued.
local function due_and_queued(stored)
  local due, _, _, queued = struct.unpack('>i8i8i8i8', stored, 41)
  return due, queued
end

-- When it is looked at, in ms; nil: never. `is_running`: whether a run of it is not settled.
local function looked_at(s, is_running)
  if s.enabled ~= '1' or s.paused ~= '0' then return nil end
  if s.queued ~= NONE and not is_running then return 0 end
  if s.due == NONE then return nil end
  return s.due
end

-- Stores a schedule, and when it is looked at.
local function save_schedule(id, s)
  local is_running = false
  for _, env in ipairs(redis.call('HMGET', jobs, s.job, s.hand)) do
    is_running = is_running or env and is_pending(env)
  end
  redis.call('HSET', schedules, id, write_schedule(s))
  local at = looked_at(s, is_running)
  if at then
    redis.call('ZADD', due_schedules, whole(at), id)
  else
    redis.call('ZREM', due_schedules, id)
  end
end
