-- Fires occurrences of schedules of this queue, one after the other: makes the job of each or
-- counts why not, and moves its schedule on to the next.
--
-- ARGV 1 the channel on which schedules are told of  2 crashes allowed  3-6 retention, as in
--      exchange.lua; then of each firing
--      1 id of the schedule  2 n: of its next occurrence, q: of the one that is queued  3 the
--      schedule's revision  4 the occurrence  5 when that is due  6 the one that a job is made for,
--      or -  7 how many were missed  8 the next, or -  9 when that is due, or -
--      10 overlap: a allow, s skip, q queue  11 the limit of runs, or -  12 1: it is due once
--      13 id of the job  14 its priority  15 its body  16 1 where it is kept for its result
--      17 for how long in ms
--      10 to 17 are as the definition of that revision says.
--
-- Returns of each 'job', 'queued', 'overlapped', 'missed', 'early' (not due by the server's clock, or
--      queued behind a run that is not settled) or 'stale' (the schedule has another revision or
--      occurrence, is not active or no more). The last two change nothing.
--
-- Invariant: an occurrence is moved past in the step that makes its job. Resent, the schedule has
--      moved on, and is known by the firing that made its last job. Time is the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include schedule
-- @include places
-- @include finish

local FIRST, WIDTH = 7, 17
local keep = read_retention(3)
local max_crashes = tonumber(ARGV[2])

-- All that the firings are about, read at once: schedules by id, and which jobs are known.
local by_id, envelopes = {}, {}
do
  local ids, made, before = {}, {}, {}
  for at = FIRST, #ARGV, WIDTH do
    ids[#ids + 1] = ARGV[at]
    made[#made + 1] = ARGV[at + 12]
  end
  local stored = redis.call('HMGET', schedules, unpack(ids))
  for i = 1, #ids do
    if stored[i] and not by_id[ids[i]] then
      local s = read_schedule(stored[i])
      by_id[ids[i]] = s
      if s.job ~= NO_JOB then before[#before + 1] = s.job end
      if s.hand ~= NO_JOB then before[#before + 1] = s.hand end
    end
  end
  for _, names in ipairs({ made, before }) do
    for from = 1, #names, CHUNK do
      local upto = math.min(from + CHUNK - 1, #names)
      local found = redis.call('HMGET', jobs, unpack(names, from, upto))
      for i = from, upto do envelopes[names[i]] = found[i - from + 1] end
    end
  end
end

-- The run of a schedule that is not settled.
local function running(s)
  for _, job in ipairs({ s.job, s.hand }) do
    local env = envelopes[job]
    if env and is_pending(env) then return job end
  end
end

local arrived, promoted = 0, false
local created, pushed, gone_runs, new_runs, changed = {}, {}, {}, {}, {}

local function make(at)
  local id = ARGV[at + 12]
  local env = envelopes[id]
  if env and is_expired(env, keep, now) then
    forget(id, env, keep)
    env = nil
  end
  -- Where the job is known already, an earlier definition of the schedule has made it.
  if env then return end
  if not promoted then
    arrived, promoted = promote(now), true
  end
  local priority = ARGV[at + 13]
  local header = write_header({
    state = 'P', priority = priority, cancel = '-', solo = '-', stamp = tonumber(ARGV[at + 15]),
    attempts = 0, crashes = 0, enqueued_at = now, due_at = now, finished_at = 0,
    keep = tonumber(ARGV[at + 16]),
  })
  env = header .. ARGV[at + 14]
  envelopes[id] = env
  created[#created + 1] = id
  created[#created + 1] = env
  local entry = entry_of(id, header)
  if must_run_alone(0, max_crashes) then
    add_solo(entry, tonumber(priority), false)
  else
    local place = tonumber(priority) + 1
    pushed[place] = pushed[place] or {}
    table.insert(pushed[place], entry)
  end
  arrived = arrived + 1
end

local function fire(at)
  local id, kind = ARGV[at], ARGV[at + 1]
  local s = by_id[id]
  if not s then return 'stale' end
  local occurrence = kind == 'q' and s.queued or s.next
  local firing = table.concat({ kind, unpack(ARGV, at + 2, at + 7) }, ':')
  if s.revision ~= ARGV[at + 2] or occurrence ~= ARGV[at + 3] or s.enabled ~= '1'
    or s.paused ~= '0'
  then
    return s.made_by == firing and 'job' or 'stale'
  end
  if tonumber(ARGV[at + 4]) > now then return 'early' end

  local run, overlap, busy = ARGV[at + 5], ARGV[at + 9], running(s)
  local answer = 'job'
  if run == '-' then
    answer = 'missed'
  elseif kind == 'q' then
    if busy then answer = 'early' end
  elseif overlap == 's' then
    if busy then answer = 'overlapped' end
  elseif overlap == 'q' then
    if s.queued ~= '-' then
      answer = 'overlapped'
    elseif busy then
      answer = 'queued'
    end
  end
  changed[id] = s
  if answer == 'early' or answer == 'queued' then
    new_runs[busy] = 'q' .. ARGV[1] .. ' ' .. id
  end
  if answer == 'early' then return answer end

  if answer == 'job' then
    make(at)
    local job = ARGV[at + 12]
    if s.job ~= NO_JOB and s.job ~= job then
      gone_runs[#gone_runs + 1] = s.job
      new_runs[s.job] = nil
    end
    new_runs[job] = 'p' .. ARGV[1] .. ' ' .. id
    s.job, s.last, s.made_by = job, run, firing
    s.fired = whole(tonumber(s.fired) + 1)
  elseif answer == 'queued' then
    s.queued = run
  elseif answer == 'overlapped' then
    s.overlapped = whole(tonumber(s.overlapped) + 1)
  end
  s.missed = whole(tonumber(s.missed) + tonumber(ARGV[at + 6]))
  if kind == 'q' then
    s.queued = '-'
  else
    s.next, s.due = ARGV[at + 7], ARGV[at + 8]
  end
  local limit = ARGV[at + 10]
  if limit ~= '-' and tonumber(s.fired) >= tonumber(limit) then
    s.next, s.due = '-', '-'
    if s.queued ~= '-' then
      s.queued = '-'
      s.overlapped = whole(tonumber(s.overlapped) + 1)
    end
  end
  if ARGV[at + 11] == '1' and s.next == '-' and s.queued == '-' then
    s.is_done = true
    by_id[id] = nil
  end
  return answer
end

local answers = {}
for at = FIRST, #ARGV, WIDTH do answers[#answers + 1] = fire(at) end

call_in_chunks('HSET', jobs, created)
for place = 1, 5 do
  if pushed[place] then call_in_chunks('RPUSH', waiting[place], pushed[place]) end
end
local stored, places, none = {}, {}, {}
local retired = 0
for id, s in pairs(changed) do
  local at = not s.is_done and looked_at(s, running(s))
  if at then
    places[#places + 1] = at
    places[#places + 1] = id
  else
    none[#none + 1] = id
  end
  if s.is_done then
    redis.call('HDEL', schedules, id)
    retired = math.max(retired, tonumber(s.revision))
    for _, job in ipairs({ s.job, s.hand }) do
      gone_runs[#gone_runs + 1] = job
      new_runs[job] = nil
    end
  else
    stored[#stored + 1] = id
    stored[#stored + 1] = write_schedule(s)
  end
end
call_in_chunks('HSET', schedules, stored)
call_in_chunks('ZADD', due_schedules, places)
call_in_chunks('ZREM', due_schedules, none)
call_in_chunks('HDEL', runs, gone_runs)
local begun = {}
for job, run in pairs(new_runs) do
  begun[#begun + 1] = job
  begun[#begun + 1] = run
end
call_in_chunks('HSET', runs, begun)
if retired > tonumber(redis.call('HGET', meta, 'retired') or 0) then
  redis.call('HSET', meta, 'retired', whole(retired))
end
local to_wake = arrived
-- @include wake
return answers
