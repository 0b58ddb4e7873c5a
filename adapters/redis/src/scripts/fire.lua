-- Fires occurrences of schedules of this queue, one after the other: makes the job of each or
-- counts why not, and moves its schedule on to the next. Most that make a job have fire_plain.lua.
--
-- ARGV 1 crashes allowed  2-5 retention, as in exchange.lua; then of each firing four:
--      the id of the schedule;
--      what is to be done, of fixed width: n for its next occurrence or q for the one that is queued;
--      the schedule's revision; the occurrence, when that is due, the one that a job is made for,
--      how many were missed, the next, when that is due, until when this is right; a, s or q for the
--      overlap policy; the limit
--      of runs, 0 where there is none; 1 where it is due once; the id of the job, 16 bytes;
--      the job's header, whose times are put in here, and its body.
--      Policy, limit, whether it is due once and the job are as the definition of that revision says.
--      Times are ms, or NONE.
--
-- Returns of each 'job', 'queued', 'overlapped', 'missed', 'early' (not due by the server's clock, or
--      queued behind a run that is not settled) or 'stale' (the schedule has another revision or
--      occurrence, is not active or no more; or this comes too late). The last two change nothing.
--
-- Invariant: an occurrence is moved past in the step that makes its job. Resent, the schedule has
--      moved on, and is known by the firing that made its last job. Time is the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include schedule
-- @include places
-- @include finish

local FIRST, WIDTH = 6, 4
local FIRING = '>c1I8i8i8i8I8i8i8i8c1I8c1c16'
local OVERLAP, ALLOW = 66, 97
-- A firing made a job that is known by these of its fields: kind, occurrence, run, missed, next.
local MADE_BY = '>c1i8i8I8i8'
local argv, call, sub, byte = ARGV, redis.call, string.sub, string.byte
local pack, unpack_from = struct.pack, struct.unpack
local keep = read_retention(2)
local alone = must_run_alone(0, tonumber(argv[1]))

-- All that the firings are about, read at once: states by id, and which jobs are known. Where runs
-- may overlap, those before are read when they are asked for.
local states, envelopes, made = {}, { [NO_JOB] = false }, {}
do
  local ids, asked = {}, {}
  local count = 0
  for at = FIRST, #argv, WIDTH do
    count = count + 1
    ids[count] = argv[at]
    made[count] = sub(argv[at + 1], -16)
    asked[count] = made[count]
  end
  local stored = call('HMGET', schedules, unpack(ids))
  for i = 1, count do
    local state = stored[i]
    states[ids[i]] = state
    if state and byte(argv[FIRST + (i - 1) * WIDTH + 1], OVERLAP) ~= ALLOW then
      local last, hand = sub(state, 1, 16), sub(state, 17, 32)
      if last ~= NO_JOB then asked[#asked + 1] = last end
      if hand ~= NO_JOB then asked[#asked + 1] = hand end
    end
  end
  for from = 1, #asked, CHUNK do
    local upto = math.min(from + CHUNK - 1, #asked)
    local found = call('HMGET', jobs, unpack(asked, from, upto))
    for i = from, upto do envelopes[asked[i]] = found[i - from + 1] end
  end
end

local function envelope_of(job)
  local env = envelopes[job]
  if env == nil then
    env = call('HGET', jobs, job)
    envelopes[job] = env
  end
  return env
end

-- The run of a schedule that is not settled.
local function running(job, hand)
  local env = envelope_of(job)
  if env and is_pending(env) then return job end
  env = envelope_of(hand)
  if env and is_pending(env) then return hand end
end

local arrived, promoted = 0, false
local created, pushed, gone_runs, changed = {}, {}, {}, {}
local stored, places, done = {}, {}, {}
local times, headers = pack('>I8I8', now, now), {}

local function add(job, header, body)
  if not promoted then
    arrived, promoted = promote(now), true
  end
  -- Bytes 18 to 33, as lib/envelope.lua draws it.
  local timed = headers[header]
  if not timed then
    timed = sub(header, 1, 17) .. times .. sub(header, 34)
    headers[header] = timed
  end
  local env = timed .. body
  envelopes[job] = env
  local count = #created
  created[count + 1], created[count + 2] = job, env
  local entry, priority = job .. sub(header, 6, 9), byte(header, 3) - 48
  if alone then
    add_solo(entry, priority, false)
  else
    push(pushed, priority + 1, entry)
  end
  arrived = arrived + 1
end

-- A run that is the last of its schedule no more.
local function forget_run(job)
  if job ~= NO_JOB then gone_runs[#gone_runs + 1] = job end
end

local function fire(at)
  local id = argv[at]
  local s = changed[id] or states[id] and read_schedule(states[id])
  if not s then return 'stale' end
  local kind, revision, occurrence, due, run, missed, next, next_due, upto, overlap, limit,
    once, job = unpack_from(FIRING, argv[at + 1])
  local stored = kind == 'q' and s.queued or s.next
  local made_by = pack(MADE_BY, kind, occurrence, run, missed, next)
  if s.revision ~= revision or stored ~= occurrence or s.enabled ~= '1' or s.paused ~= '0' then
    return s.revision == revision and s.made_by == made_by and 'job' or 'stale'
  end
  if due > now then return 'early' end
  if upto < now then return 'stale' end

  local busy = running(s.job, s.hand)
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
  if answer == 'early' then return answer end

  if answer == 'job' then
    local env = envelope_of(job)
    if env and is_expired(env, keep, now) then
      forget(job, env, keep)
      env = nil
    end
    -- Where the job is known already, an earlier definition of the schedule has made it.
    if not env then add(job, argv[at + 2], argv[at + 3]) end
    if job ~= s.job then forget_run(s.job) end
    if run < s.last then remember_made(s.last) end
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
    if s.resume ~= NONE then
      if next == NONE or next >= s.resume then s.from, s.upto, s.resume = NONE, NONE, NONE end
    elseif missed > 0 then
      s.from, s.upto = occurrence, run ~= NONE and run or next
    end
  end
  if limit > 0 and s.fired >= limit then
    s.next, s.due = NONE, NONE
    if s.queued ~= NONE then s.queued, s.overlapped = NONE, s.overlapped + 1 end
  end
  if once == '1' and s.next == NONE and s.queued == NONE then
    changed[id], states[id] = nil, nil
    done[#done + 1] = id
    done[id] = s
  end
  return answer
end

local answers = {}
for i = 1, #made do
  local at = FIRST + (i - 1) * WIDTH
  answers[i] = fire(at)
end

call_in_chunks('HSET', jobs, created)
for place = 1, 5 do
  if pushed[place] then call_in_chunks('RPUSH', waiting[place], pushed[place]) end
end
local none = {}
for id, s in pairs(changed) do
  stored[#stored + 1] = id
  stored[#stored + 1] = write_schedule(s)
  local at = looked_at(s, running(s.job, s.hand))
  if at then
    places[#places + 1] = whole(at)
    places[#places + 1] = id
  else
    none[#none + 1] = id
  end
end
call_in_chunks('HSET', schedules, stored)
call_in_chunks('ZADD', due_schedules, places)
call_in_chunks('ZREM', due_schedules, none)
local retired = 0
for _, id in ipairs(done) do
  local s = done[id]
  call('HDEL', schedules, id)
  call('HDEL', definitions, id)
  call('ZREM', due_schedules, id)
  remember_made(s.last)
  retired = math.max(retired, s.revision)
  forget_run(s.job)
  forget_run(s.hand)
end
if retired > tonumber(call('HGET', meta, 'retired') or 0) then
  call('HSET', meta, 'retired', whole(retired))
end
call_in_chunks('HDEL', runs, gone_runs)
local to_wake = arrived
-- @include wake
return answers
