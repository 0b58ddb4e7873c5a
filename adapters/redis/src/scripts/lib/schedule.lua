-- A schedule as it is stored: the job of its last run and that of its last run by hand, 16 bytes
-- each, then a line, then its definition as JSON. In the line:
--   revision, next occurrence, when that is due, last occurrence, when the last run by hand was
--   asked for, the occurrence that is queued, how many fired, overlapped, missed, whether it is
--   enabled, whether it is paused, the firing that made the last job
-- What there is none of is -, or 16 zeros. Times are ms.
local NO_JOB = string.rep('\0', 16)
local LINE = '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)\n(.*)$'

local function read_schedule(stored)
  local s = { job = string.sub(stored, 1, 16), hand = string.sub(stored, 17, 32) }
  s.revision, s.next, s.due, s.last, s.hand_at, s.queued, s.fired, s.overlapped, s.missed, s.enabled,
    s.paused, s.made_by, s.definition = string.match(string.sub(stored, 33), LINE)
  return s
end

local function write_schedule(s)
  return s.job .. s.hand .. table.concat({ s.revision, s.next, s.due, s.last, s.hand_at, s.queued,
    s.fired, s.overlapped, s.missed, s.enabled, s.paused, s.made_by }, ' ') .. '\n' .. s.definition
end

-- When it is looked at, in ms; nil: never. `is_running`: whether a run of it is not settled.
local function looked_at(s, is_running)
  if s.enabled ~= '1' or s.paused ~= '0' then return nil end
  if s.queued ~= '-' and not is_running then return '0' end
  if s.due == '-' then return nil end
  return s.due
end
