-- Adds jobs to a queue: all of them, each unless one of its id is known.
--
-- ARGV 1 number of the batch in its lane  2 how long the lane is remembered, ms
--      3 crashes allowed  4-7 retention, as in exchange.lua
--      then for each run of jobs that are alike: priority, 1 where its jobs are kept for their
--      result, for how long in ms, due (N now, A after, T at), when in ms, how many jobs follow;
--      then their ids, then their bodies
--
-- Returns {'ok', now, positions of jobs that were known already, counted from 1 over all runs}.
--      {'late', now}: a batch of this lane with a higher number was applied; this one came late.
--
-- Invariant: as in exchange.lua. The lane keeps the number of its last batch and what it was
--      answered: resent, nothing changes and the answer is the same, whatever became of the jobs.
--
-- Time is the server's.

-- @include clock

local call, sub = redis.call, string.sub
local number = tonumber(ARGV[1])
local known = {}
local before = call('GET', lane)
if before then
  local last, positions = string.match(before, '^(%d+) ?(.*)$')
  last = tonumber(last)
  if number < last then return { 'late', string.format('%.0f', now) } end
  if number == last then
    for position in string.gmatch(positions, '%d+') do known[#known + 1] = tonumber(position) end
    return { 'ok', string.format('%.0f', now), known }
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

local PIECE = 1000
local position, soonest = 0, nil
local at = 8
while at < #ARGV do
  local kept, due, count = ARGV[at + 1], ARGV[at + 3], tonumber(ARGV[at + 5])
  local due_at = now
  if due == 'A' then
    due_at = math.min(now + ARGV[at + 4], 9007199254740991)
  elseif due == 'T' then
    due_at = tonumber(ARGV[at + 4])
  end
  -- As lib/envelope.lua draws it.
  local header = struct.pack('>c1c1c1c1c1I4I4I4I8I8I8I8', '\1', 'P', ARGV[at], '-', '-', kept, 0, 0,
    now, due_at, 0, ARGV[at + 2])
  local stamp = sub(header, 6, 9)
  for from = 0, count - 1, PIECE do
    local size = math.min(PIECE, count - from)
    local ids = at + 6 + from
    local bodies = ids + count
    local found = call('HMGET', jobs, unpack(ARGV, ids, ids + size - 1))

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
          forget(ARGV[ids + i - 1], found[i], keep)
          found[i] = false
        end
      end
    end

    local values, entries, new = {}, {}, 0
    for i = 1, size do
      if found[i] then
        known[#known + 1] = position + i
      else
        local id = ARGV[ids + i - 1]
        new = new + 1
        values[2 * new - 1] = id
        values[2 * new] = header .. ARGV[bodies + i - 1]
        entries[new] = id .. stamp
      end
    end
    position = position + size

    if new > 0 then
      local alone = tonumber(ARGV[3]) <= 1
      call('HSET', jobs, unpack(values))
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
  at = at + 6 + 2 * count
end

call('SET', lane, number .. ' ' .. table.concat(known, ' '), 'PX', ARGV[2])
if soonest then
  -- @include sweeper
end
if call('HGET', meta, 'paused') then to_wake = 0 end
-- @include wake
return { 'ok', string.format('%.0f', now), known }
