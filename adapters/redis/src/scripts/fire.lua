-- Fires occurrences of schedules of this queue, one after the other: makes the job of each or
-- counts why not, and moves its schedule on to the next.
--
-- ARGV 1 the channel on which schedules are told of  2 crashes allowed  3-6 retention, as in
--      exchange.lua; then of each firing three:
--      the id of the schedule;
--      what is to be done, of fixed width: n for its next occurrence or q for the one that is queued;
--      the schedule's revision; the occurrence, when that is due, the one that a job is made for,
--      how many were missed, the next, when that is due; a, s or q for the overlap policy; the limit
--      of runs, 0 where there is none; 1 where it is due once; the id of the job, 16 bytes;
--      the job's envelope, whose times are put in here.
--      Policy, limit, whether it is due once and the job are as the definition of that revision says.
--      Times are ms, or NONE.
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

local FIRST, WIDTH = 7, 3
local FIRING = '>c1I8i8i8i8I8i8i8c1I8c1c16'
-- A firing made a job that is known by these of its fields: kind, occurrence, run, missed, next.
local MADE_BY = '>c1i8i8I8i8'
local argv, call, sub, pack, unpack_from = ARGV, redis.call, string.sub, struct.pack, struct.unpack
local keep = read_retention(3)
local alone = must_run_alone(0, tonumber(argv[2]))

-- All that the firings are about, read at once: schedules by id, and which jobs are known.
local by_id, envelopes = {}, {}
do
  local ids, made, before = {}, {}, {}
  for at = FIRST, #argv, WIDTH do
    ids[#ids + 1] = argv[at]
    made[#made + 1] = sub(argv[at + 1], -16)
  end
  local stored = call('HMGET', schedules, unpack(ids))
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
      local found = call('HMGET', jobs, unpack(names, from, upto))
      for i = from, upto do envelopes[names[i]] = found[i - from + 1] end
    end
  end
end

-- The run of a schedule that is not settled.
local function running(s)
  local env = envelopes[s.job]
  if env and is_pending(env) then return s.job end
  env = envelopes[s.hand]
  if env and is_pending(env) then return s.hand end
end

local arrived, promoted = 0, false
local created, pushed, gone_runs, new_runs, changed = {}, {}, {}, {}, {}
local times = pack('>I8I8', now, now)

local function make(id, envelope)
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
  -- Bytes 18 to 33, as lib/envelope.lua draws it.
  env = sub(envelope, 1, 17) .. times .. sub(envelope, 34)
  envelopes[id] = env
  created[#created + 1] = id
  created[#created + 1] = env
  local entry, priority = id .. sub(env, 6, 9), tonumber(sub(env, 3, 3))
  if alone then
    add_solo(entry, priority, false)
  else
    local list = pushed[priority + 1]
    if not list then
      list = {}
      pushed[priority + 1] = list
    end
    list[#list + 1] = entry
  end
  arrived = arrived + 1
end

local function fire(id, firing, envelope)
  local s = by_id[id]
  if not s then return 'stale' end
  local kind, revision, occurrence, due, run, missed, next, next_due, overlap, limit, once, job =
    unpack_from(FIRING, firing)
  local stored = kind == 'q' and s.queued or s.next
  local made_by = pack(MADE_BY, kind, occurrence, run, missed, next)
  if s.revision ~= revision or stored ~= occurrence or s.enabled ~= '1' or s.paused ~= '0' then
    return s.revision == revision and s.made_by == made_by and 'job' or 'stale'
  end
  if due > now then return 'early' end

  local busy = running(s)
  local answer = 'job'
  if run == NONE then
    answer = 'missed'
  elseif kind == 'q' then
    if busy then answer = 'early' end
  elseif overlap == 's' then
    if busy then answer = 'overlapped' end
  elseif overlap == 'q' then
    if s.queued ~= NONE then
      answer = 'overlapped'
    elseif busy then
      answer = 'queued'
    end
  end
  changed[id] = s
  if answer == 'early' or answer == 'queued' then new_runs[busy] = 'q' .. argv[1] .. ' ' .. id end
  if answer == 'early' then return answer end

  if answer == 'job' then
    make(job, envelope)
    if s.job ~= NO_JOB and s.job ~= job then
      gone_runs[#gone_runs + 1] = s.job
      new_runs[s.job] = nil
    end
    new_runs[job] = 'p' .. argv[1] .. ' ' .. id
    s.job, s.last, s.made_by, s.fired = job, run, made_by, s.fired + 1
  elseif answer == 'queued' then
    s.queued = run
  elseif answer == 'overlapped' then
    s.overlapped = s.overlapped + 1
  end
  s.missed = s.missed + missed
  if kind == 'q' then
    s.queued = NONE
  else
    s.next, s.due = next, next_due
  end
  if limit > 0 and s.fired >= limit then
    s.next, s.due = NONE, NONE
    if s.queued ~= NONE then s.queued, s.overlapped = NONE, s.overlapped + 1 end
  end
  if once == '1' and s.next == NONE and s.queued == NONE then
    s.is_done = true
    by_id[id] = nil
  end
  return answer
end

local answers = {}
for at = FIRST, #argv, WIDTH do
  answers[#answers + 1] = fire(argv[at], argv[at + 1], argv[at + 2])
end

call_in_chunks('HSET', jobs, created)
for place = 1, 5 do
  if pushed[place] then call_in_chunks('RPUSH', waiting[place], pushed[place]) end
end
local stored, places, none = {}, {}, {}
local retired = 0
for id, s in pairs(changed) do
  local at = not s.is_done and looked_at(s, running(s))
  if at then
    places[#places + 1] = whole(at)
    places[#places + 1] = id
  else
    none[#none + 1] = id
  end
  if s.is_done then
    call('HDEL', schedules, id)
    call('HDEL', definitions, id)
    retired = math.max(retired, s.revision)
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
if retired > tonumber(call('HGET', meta, 'retired') or 0) then
  call('HSET', meta, 'retired', whole(retired))
end
local to_wake = arrived
-- @include wake
return answers
