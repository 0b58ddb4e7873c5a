-- Adds jobs to a queue: all of them, each unless one of its id is known. A lone job has push.lua.
--
-- ARGV 1 number of the batch in its lane  2 how long the lane is remembered, ms
--      3 crashes allowed  4-7 retention, as in exchange.lua
--      8 the time by the sender's reckoning, ms, which is no later than the server's
--      then for each run of jobs that are alike: priority, due (N now, A after, T at), when in ms,
--      how many follow; then of each its id and its envelope, accepted and due at 8
--
-- Returns {'ok', now, positions of jobs that were known already, counted from 1 over all runs}.
--      {'late', now}: a batch of this lane with a higher number was applied; this one came late.
--
-- Invariant: as in exchange.lua. The lane keeps the number of its last batch and what it was
--      answered: resent, nothing changes and the answer is the same, whatever became of the jobs.
--
-- Time is the server's. An envelope is stored as it came where the sender reckoned well, since to
-- make another costs as much as all else; any other is given the server's time.

-- @include clock

local call, sub = redis.call, string.sub
local GOOD_RECKONING_MS = 1000
local known = {}
local before = call('SET', lane, ARGV[1], 'PX', ARGV[2], 'GET')
if before then
  local last, positions = string.match(before, '^(%d+) ?(.*)$')
  local number = tonumber(ARGV[1])
  last = tonumber(last)
  if number <= last then
    call('SET', lane, before, 'PX', ARGV[2])
    if number < last then return { 'late', now } end
    for position in string.gmatch(positions, '%d+') do known[#known + 1] = tonumber(position) end
    return { 'ok', now, known }
  end
end

-- What became due goes ahead of what comes now.
local to_wake = 0
local first = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
if first[2] and tonumber(first[2]) <= now then
  -- @include chunks
  -- @include places
  to_wake = promote(now)
end

local age = now - ARGV[8]
local is_timely = age >= 0 and age <= GOOD_RECKONING_MS
local alone = tonumber(ARGV[3]) <= 1
local PIECE = 1000
local position, soonest = 0, nil
local at = 9
while at < #ARGV do
  local due, count = ARGV[at + 1], tonumber(ARGV[at + 3])
  local due_at = now
  if due == 'A' then
    due_at = math.min(now + ARGV[at + 2], 9007199254740991)
  elseif due == 'T' then
    due_at = tonumber(ARGV[at + 2])
  end
  local times
  if due ~= 'N' or not is_timely then times = struct.pack('>I8I8', now, due_at) end
  local stamp = sub(ARGV[at + 5], 6, 9)
  for from = 0, count - 1, PIECE do
    local size = math.min(PIECE, count - from)
    local first = at + 4 + 2 * from
    local ids = {}
    for i = 1, size do ids[i] = ARGV[first + 2 * i - 2] end
    local found = call('HMGET', jobs, unpack(ids))

    -- A job past its age is no longer known.
    local is_any = false
    for i = 1, size do
      if found[i] then
        is_any = true
        break
      end
    end
    if is_any then
      -- @include chunks
      -- @include envelope
      -- @include finish
      local keep = read_retention(4)
      for i = 1, size do
        if found[i] and is_expired(found[i], keep, now) then
          forget(ids[i], found[i], keep)
          found[i] = false
        end
      end
    end

    local values, entries, new = {}, {}, 0
    for i = 1, size do
      if found[i] then
        known[#known + 1] = position + i
      else
        new = new + 1
        entries[new] = ids[i] .. stamp
        if is_any or times then
          local env = ARGV[first + 2 * i - 1]
          -- Bytes 18 to 33, as lib/envelope.lua draws it.
          if times then env = sub(env, 1, 17) .. times .. sub(env, 34) end
          values[2 * new - 1] = ids[i]
          values[2 * new] = env
        end
      end
    end
    position = position + size

    if new > 0 then
      if is_any or times then
        call('HSET', jobs, unpack(values))
      else
        call('HSET', jobs, unpack(ARGV, first, first + 2 * size - 1))
      end
      if due_at > now then
        local score, place = string.format('%.0f', due_at), alone and ARGV[at] + 5 or ARGV[at]
        local members = {}
        for i = 1, new do
          members[2 * i - 1] = score
          members[2 * i] = place .. entries[i]
        end
        call('ZADD', delayed, unpack(members))
        soonest = math.min(soonest or due_at, due_at)
      else
        to_wake = to_wake + new
        if alone then
          -- @include chunks
          -- @include places
          for i = 1, new do add_solo(entries[i], tonumber(ARGV[at]), false) end
        else
          call('RPUSH', KEYS[FIRST_LIST + ARGV[at]], unpack(entries))
        end
      end
    end
  end
  at = at + 4 + 2 * count
end

if #known > 0 then
  call('SET', lane, ARGV[1] .. ' ' .. table.concat(known, ' '), 'PX', ARGV[2])
end
if soonest then
  -- @include sweeper
end
-- @include wake
return { 'ok', now, known }
