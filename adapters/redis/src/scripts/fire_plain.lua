-- Fires occurrences of schedules of this queue that are as they were read, and where nothing is to be
-- decided: each makes its job. What is not so is left to fire.lua.
--
-- ARGV 1 crashes allowed  2 when all of them are due, and 3 until when all of them are right, ms
--      4 the time by the sender's reckoning, ms, which is no later than the server's
--      5 the revisions and versions of their schedules as they were read, 16 bytes each
--      6 of each one letter, for the run before: n there is none, a it may be overlapped, s it may
--      not
--      7 the first of the occurrences that jobs are made for, ms; each is later than the last of its
--      schedule
--      8 the priority and the stamp of all their jobs, or nothing where those differ
--      then of each the id of the schedule and the state that it has afterwards;
--      then of each the id of the job and its envelope, accepted and due at 4;
--      then, unless 6 has only n, of each the job of the run before.
--      No schedule is named twice.
--
-- Returns {now, positions of those left to fire.lua, counted from 1}.
--
-- Invariant: as in fire.lua, but for `due_schedules`, where a schedule stays as it was: due.lua moves
--      it on. Resent, a schedule has the state that it has afterwards. Where that was
--      changed again, fire.lua knows the firing. Time is the server's, as in enqueue.lua.
--
-- What stands together in ARGV is what the commands take: where all fire, as is nearly always so, it
-- is handed on as it came.

-- @include chunks
-- @include clock
-- @include envelope
-- @include schedule
-- @include places

local GOOD_RECKONING_MS = 1000
local argv, call, sub, byte = ARGV, redis.call, string.sub, string.byte
local versions, before = argv[5], argv[6]
local count = #before
-- In front of the schedules, the jobs and the runs before.
local SCHEDULES = 8
local JOBS = SCHEDULES + 2 * count
local BEFORE = JOBS + 2 * count
local has_before = #argv > BEFORE
local left = {}

local ids, made = {}, {}
for i = 1, count do
  ids[i], made[i] = argv[SCHEDULES + 2 * i - 1], argv[JOBS + 2 * i - 1]
end

-- Those whose schedule is as it was read.
local ready = {}
local is_time = now >= tonumber(argv[2]) and now <= tonumber(argv[3])
local stored, found = call('HMGET', schedules, unpack(ids)), {}
for i = 1, count do
  found[i] = stored[i] and sub(stored[i], REVISION_AT, VERSION_END) or ''
end
local are_as_read = is_time and table.concat(found) == versions
for i = 1, count do
  if are_as_read or is_time and found[i] == sub(versions, 16 * i - 15, 16 * i) then
    ready[#ready + 1] = i
  elseif stored[i] ~= argv[SCHEDULES + 2 * i] then
    left[#left + 1] = i
  end
end

-- A job that is known was made by an earlier definition of its schedule, or before that went back. A
-- run before may have to be over, and is not.
local is_left
local function leave(which)
  is_left = is_left or {}
  is_left[which] = true
end
if #ready > 0 and tonumber(argv[7]) <= tonumber(call('HGET', meta, 'made_upto') or NONE) then
  local known = call('HMGET', jobs, unpack(made))
  for i = 1, count do
    if known[i] then leave(i) end
  end
end
if #ready > 0 and string.find(before, 's', 1, true) then
  local which, asked = {}, {}
  for n = 1, #ready do
    local i = ready[n]
    if byte(before, i) == 115 then which[#which + 1], asked[#asked + 1] = i, argv[BEFORE + i] end
  end
  local ended = #asked > 0 and call('HMGET', runs, unpack(asked)) or {}
  for n = 1, #asked do
    -- As lib/ends.lua writes it: a capital.
    local how = ended[n] and byte(ended[n])
    if not how or how > 90 then leave(which[n]) end
  end
end
if is_left then
  local still = {}
  for n = 1, #ready do
    local i = ready[n]
    if is_left[i] then left[#left + 1] = i else still[#still + 1] = i end
  end
  ready = still
end

local to_wake = 0
if #ready > 0 then
  to_wake = promote(now)
  local alone, alike = must_run_alone(0, tonumber(argv[1])), argv[8]
  local pushed = {}
  local list, stamp
  if alike ~= '' and not alone then
    list, stamp = {}, sub(alike, 2)
    pushed[byte(alike) - 47] = list
  end
  for n = 1, #ready do
    local i = ready[n]
    local job = made[i]
    if list then
      list[n] = job .. stamp
    else
      local env = argv[JOBS + 2 * i]
      local entry, priority = entry_of(job, env), byte(env, 3) - 48
      if alone then
        add_solo(entry, priority, false)
      else
        push(pushed, priority + 1, entry)
      end
    end
  end

  local age = now - argv[4]
  local is_timely = age >= 0 and age <= GOOD_RECKONING_MS
  if is_timely and #ready == count then
    call('HSET', jobs, unpack(argv, JOBS + 1, BEFORE))
    call('HSET', schedules, unpack(argv, SCHEDULES + 1, JOBS))
    if has_before then call('HDEL', runs, unpack(argv, BEFORE + 1, BEFORE + count)) end
  else
    local times = not is_timely and struct.pack('>I8I8', now, now)
    local created, states, over = {}, {}, {}
    for n = 1, #ready do
      local i = ready[n]
      local env = argv[JOBS + 2 * i]
      -- Bytes 18 to 33, as lib/envelope.lua draws it.
      if times then env = sub(env, 1, 17) .. times .. sub(env, 34) end
      created[2 * n - 1], created[2 * n] = made[i], env
      states[2 * n - 1], states[2 * n] = ids[i], argv[SCHEDULES + 2 * i]
      if has_before then over[n] = argv[BEFORE + i] end
    end
    call_in_chunks('HSET', jobs, created)
    call_in_chunks('HSET', schedules, states)
    call_in_chunks('HDEL', runs, over)
  end
  for place = 1, 5 do
    if pushed[place] then call_in_chunks('RPUSH', waiting[place], pushed[place]) end
  end
  to_wake = to_wake + #ready
end
-- @include wake
return { now, left }
