-- Fires occurrences of schedules of this queue that are as they were read, and where nothing is to be
-- decided: each makes its job. What is not so is left to fire.lua.
--
-- ARGV 1 crashes allowed  2 when all of them are due, and 3 until when all of them are right, ms
--      4 the time by the sender's reckoning, ms, which is no later than the server's
--      then for each run of firings that are alike: a where a run may overlap another of its
--      schedule, else s; how many follow; then of each three:
--      the id of the schedule, the state that it has afterwards, and the job's envelope, accepted
--      and due at 4. The job's id is in that state; the state before is that of the version before.
--      No schedule is named twice.
--
-- Returns {now, positions of those left to fire.lua, counted from 1 over all runs}.
--
-- Invariant: as in fire.lua, but for `due_schedules`, where a schedule stays as it was: due.lua moves
--      it on. Resent, a schedule has the state that it has afterwards. Where that was
--      changed again, fire.lua knows the firing. Time is the server's, as in enqueue.lua.

-- @include chunks
-- @include clock
-- @include envelope
-- @include schedule
-- @include places

local GOOD_RECKONING_MS = 1000
local argv, call, sub, byte = ARGV, redis.call, string.sub, string.byte
local unpack_from = struct.unpack
local left = {}

-- Where of each the arguments are, and whether it may overlap.
local ids, where, may_overlap = {}, {}, {}
local count, at = 0, 5
while at <= #argv do
  local may, last = argv[at] == 'a', at + 1 + 3 * argv[at + 1]
  for place = at + 2, last, 3 do
    count = count + 1
    ids[count], where[count], may_overlap[count] = argv[place], place, may
  end
  at = last + 1
end

-- Those whose schedule is as it was read.
local is_time = now >= tonumber(argv[2]) and now <= tonumber(argv[3])
local stored = call('HMGET', schedules, unpack(ids))
local ready, made, before = {}, {}, {}
local ready_jobs, later, later_runs = {}, {}, {}
for i = 1, count do
  local state, after = stored[i], argv[where[i] + 1]
  if state ~= after then
    local is_as_read = false
    if state and is_time then
      local revision, version = unpack_from('>I8I8', state, REVISION_AT)
      local same, following = unpack_from('>I8I8', after, REVISION_AT)
      is_as_read = revision == same and version + 1 == following
    end
    if is_as_read then
      made[i], before[i] = sub(after, 1, 16), sub(state, 1, 16)
      ready[#ready + 1], ready_jobs[#ready + 1] = i, made[i]
      if before[i] ~= NO_JOB and not may_overlap[i] then
        later[#later + 1], later_runs[#later + 1] = i, before[i]
      end
    else
      left[#left + 1] = i
    end
  end
end

-- An earlier definition of the schedule may have made the job.
local is_left = {}
if #ready > 0 then
  local known = call('HMGET', jobs, unpack(ready_jobs))
  for n = 1, #ready do is_left[ready[n]] = known[n] and true end
end
-- The run before is over, where it may not be overlapped.
if #later > 0 then
  local ended = call('HMGET', runs, unpack(later_runs))
  for n = 1, #later do
    -- As lib/ends.lua writes it: a capital.
    local how = ended[n] and byte(ended[n])
    if not how or how > 90 then is_left[later[n]] = true end
  end
end

local age = now - argv[4]
local times
if age < 0 or age > GOOD_RECKONING_MS then times = struct.pack('>I8I8', now, now) end
local alone = must_run_alone(0, tonumber(argv[1]))
local created, states, begun, over, pushed = {}, {}, {}, {}, {}
local new = 0
local to_wake = #ready > 0 and promote(now) or 0
for n = 1, #ready do
  local i = ready[n]
  if is_left[i] then
    left[#left + 1] = i
  else
    local id, job, env, last = ids[i], made[i], argv[where[i] + 2], before[i]
    -- Bytes 18 to 33, as lib/envelope.lua draws it.
    if times then env = sub(env, 1, 17) .. times .. sub(env, 34) end
    local second = 2 * new + 2
    new = new + 1
    created[second - 1], created[second] = job, env
    states[second - 1], states[second] = id, argv[where[i] + 1]
    begun[second - 1], begun[second] = job, 'p'
    if last ~= NO_JOB then over[#over + 1] = last end
    local entry, priority = job .. sub(env, 6, 9), byte(env, 3) - 48
    if alone then
      add_solo(entry, priority, false)
    else
      push(pushed, priority + 1, entry)
    end
  end
end

call_in_chunks('HSET', jobs, created)
for place = 1, 5 do
  if pushed[place] then call_in_chunks('RPUSH', waiting[place], pushed[place]) end
end
call_in_chunks('HSET', schedules, states)
call_in_chunks('HDEL', runs, over)
call_in_chunks('HSET', runs, begun)
to_wake = to_wake + new
-- @include wake
return { now, left }
