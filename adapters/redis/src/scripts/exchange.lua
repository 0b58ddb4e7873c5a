-- A worker's whole conversation with a queue: settles what ended, claims what may run, in one step.
--
-- ARGV 1 process: the name of this process in `idle`
--      2 incarnation  3 number of the exchange  4 jobs held once settled  5 jobs to claim at most
--      6 1: the worker is alone  7 lease in ms  8 crashes allowed
--      9-12 retention: ages in ms and counts of completed and of dead jobs
--      13 how many plain settlements: of jobs that completed and are not kept
--      then their entries, then their ids,
--      then for each other settlement: entry, outcome (C completed, R retry, X dead, K cancelled,
--      L released), delay in ms, report
--
-- Returns {'expired'}: the incarnation is no more. {'refused'}: an old number; nothing happened.
--      {'ok', now, flags, refused ids, ids to cancel, entries claimed, their envelopes}.
--      flags: 1 reconcile, 2 more can be claimed, 4 a job waits that must run alone, 8 an envelope
--      of a newer version is at the front
--
-- Invariant: an id is in at most one of the lists, `solo`, `delayed` and all `held` sets under the
--      stamp of its envelope; only who has it in `held` under that stamp settles it. Resent with
--      the number it had, nothing changes and the claims are answered again.
--
-- Time is the server's.

local MAX_CLAIM = 1000
local MAX_BYTES = 1048576
local MAX_TOMBS = 5000
local FIRST_STEP = 16

local now = now_ms()
local number = tonumber(ARGV[3])
local limit = math.min(tonumber(ARGV[5]), MAX_CLAIM)
local max_crashes = tonumber(ARGV[8])
local keep = read_retention(9)

local function renew()
  redis.call('ZADD', workers, whole(now + tonumber(ARGV[7])), ARGV[2])
end

local function ids_of(entries)
  local ids = {}
  for i = 1, #entries do ids[i] = string.sub(entries[i], 1, 16) end
  return ids
end

-- Answers the last exchange again. What it claimed is still held: nothing but a later exchange
-- settles it.
local function repeat_answer(record, life)
  local entries = {}
  for at = life.claimed_at, #record, 20 do
    entries[#entries + 1] = string.sub(record, at, at + 19)
  end
  local envelopes = {}
  if #entries > 0 then envelopes = redis.call('HMGET', jobs, unpack(ids_of(entries))) end
  if redis.call('SCARD', held) > 0 then renew() end
  redis.call('PEXPIRE', turn, TURN_TTL_MS)
  local refused = ids_between(record, TURN_LEN + 1, life.cancelled_at)
  local cancelled = ids_between(record, life.cancelled_at, life.claimed_at)
  return { 'ok', whole(now), 2, refused, cancelled, entries, envelopes }
end

-- Splits settlements into those whose job is held under its stamp, and the ids of the others.
local function sort_out(entries, refused)
  local is_held = redis.call('SMISMEMBER', held, unpack(entries))
  local ours = {}
  for i = 1, #entries do
    if is_held[i] == 1 then
      ours[#ours + 1] = i
    else
      refused[#refused + 1] = string.sub(entries[i], 1, 16)
    end
  end
  return ours
end

-- Jobs that completed and are not kept: nothing of them need be read.
local function settle_plain(first, count, refused)
  for from = 0, count - 1, CHUNK do
    local upto = math.min(from + CHUNK, count) - 1
    local is_held = redis.call('SMISMEMBER', held, unpack(ARGV, first + from, first + upto))
    local all = true
    for i = 1, #is_held do
      if is_held[i] == 0 then
        all = false
        break
      end
    end
    if all then
      redis.call('SREM', held, unpack(ARGV, first + from, first + upto))
      redis.call('HDEL', jobs, unpack(ARGV, first + count + from, first + count + upto))
      if redis.call('EXISTS', awaited) == 1 then
        local ids = {}
        for i = from, upto do ids[#ids + 1] = ARGV[first + count + i] end
        announce(ids)
      end
    else
      local entries, ids = {}, {}
      for i = 1, #is_held do
        if is_held[i] == 1 then
          entries[#entries + 1] = ARGV[first + from + i - 1]
          ids[#ids + 1] = ARGV[first + count + from + i - 1]
        else
          refused[#refused + 1] = ARGV[first + count + from + i - 1]
        end
      end
      call_in_chunks('SREM', held, entries)
      call_in_chunks('HDEL', jobs, ids)
      announce(ids)
    end
  end
end

local function settle_one(id, env, outcome, delay, report)
  local job = read_header(env)
  if report == '' then report = nil end
  if outcome ~= 'L' then job.attempts = job.attempts + 1 end
  local to = outcome
  if outcome == 'R' or outcome == 'L' then
    if job.cancel == 'c' then
      to = 'K'
    elseif delay > 0 then
      to = 'L'
      job.due_at = math.min(now + delay, 9007199254740991)
    elseif outcome == 'R' then
      to = 'B'
      job.due_at = now
    else
      to = 'F'
    end
  end
  move(id, env, job, to, report, max_crashes, keep, now)
end

local function settle_others(first, refused)
  for from = first, #ARGV, 4 * CHUNK do
    local entries = {}
    for at = from, math.min(from + 4 * CHUNK, #ARGV) - 1, 4 do entries[#entries + 1] = ARGV[at] end
    local ours = sort_out(entries, refused)
    if #ours > 0 then
      local mine = {}
      for i, place in ipairs(ours) do mine[i] = entries[place] end
      local ids = ids_of(mine)
      redis.call('SREM', held, unpack(mine))
      local envelopes = redis.call('HMGET', jobs, unpack(ids))
      for i, place in ipairs(ours) do
        local at = from + 4 * (place - 1)
        if envelopes[i] then
          settle_one(ids[i], envelopes[i], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3])
        end
      end
    end
  end
  flush_moves()
end

local function claim_solo()
  local popped = redis.call('ZPOPMIN', solo)
  if not popped[1] then return end
  local entry = popped[1]
  local id = string.sub(entry, 1, 16)
  local env = redis.call('HGET', jobs, id)
  if not env then return end
  env = string.sub(env, 1, 4) .. 's' .. string.sub(env, 6)
  redis.call('HSET', jobs, id, env)
  return entry, env
end

-- Takes entries off the lists, the first priority first, as many as the limit and MAX_BYTES of
-- envelopes allow. How many are read at once goes by how large those before were.
local function claim_lists(entries, envelopes)
  local bytes, tombs, step, full, newer = 0, 0, FIRST_STEP, false, false
  local count, last = 0, 1
  for place = 1, 5 do
    if count == limit or full then break end
    last = place
    while count < limit and not full do
      local popped = redis.call('LPOP', waiting[place], math.min(step, limit - count))
      if not popped then break end
      local ids = ids_of(popped)
      local found = redis.call('HMGET', jobs, unpack(ids))
      for i = 1, #popped do
        local entry, env = popped[i], found[i]
        if env and string.byte(env) ~= 1 then newer = true end
        if newer or bytes >= MAX_BYTES then
          local rest = {}
          for r = #popped, i, -1 do rest[#rest + 1] = popped[r] end
          redis.call('LPUSH', waiting[place], unpack(rest))
          full = true
          break
        end
        if env and string.sub(env, 6, 9) == string.sub(entry, 17) then
          count = count + 1
          entries[count] = entry
          envelopes[count] = env
          bytes = bytes + #env
        else
          tombs = tombs + 1
        end
      end
      if tombs >= MAX_TOMBS or bytes >= MAX_BYTES then full = true end
      if count > 0 then
        step = math.max(1, math.min(MAX_CLAIM, math.floor((MAX_BYTES - bytes) * count / bytes)))
      else
        step = MAX_CLAIM
      end
    end
  end
  -- A list that is not reached is not known to be empty, and nor is the last that was.
  return tombs, full, newer, last
end

local record = redis.call('GET', turn)
local life, lost_writes = nil, false
if record then
  life = read_turn(record)
  if life.state == 'L' then return { 'expired' } end
  if number < life.number then return { 'refused' } end
  if number == life.number then return repeat_answer(record, life) end
  lost_writes = number > life.number + 1
elseif number ~= 1 then
  return { 'expired' }
end

local paused, tombs = unpack(redis.call('HMGET', meta, 'paused', 'tombs'))
tombs = tonumber(tombs or 0)

-- What became due goes ahead of what this turn may let wait.
local promoted, due = promote(now)

local refused = {}
local plain = tonumber(ARGV[13])
if plain > 0 then settle_plain(14, plain, refused) end
if #ARGV >= 14 + 2 * plain then settle_others(14 + 2 * plain, refused) end

local holds = redis.call('SCARD', held)
local reconcile = lost_writes or holds ~= tonumber(ARGV[4])
local entries, envelopes = {}, {}
local full, newer, from = false, false, 1
if limit > 0 and not paused then
  local entry, env
  if ARGV[6] == '1' and holds == 0 then entry, env = claim_solo() end
  if entry then
    entries[1], envelopes[1] = entry, env
    full = true
  else
    local met
    met, full, newer, from = claim_lists(entries, envelopes)
    if met > 0 then
      redis.call('HINCRBY', meta, 'tombs', -met)
      tombs = tombs - met
    end
  end
  call_in_chunks('SADD', held, entries)
end

-- Jobs to cancel are named until they are settled.
local cancelled = {}
if life and life.claimed_at > life.cancelled_at then
  local settled = {}
  for i = 14 + plain, 13 + 2 * plain do settled[ARGV[i]] = true end
  for i = 14 + 2 * plain, #ARGV, 4 do settled[string.sub(ARGV[i], 1, 16)] = true end
  for _, id in ipairs(ids_between(record, life.cancelled_at, life.claimed_at)) do
    if not settled[id] then cancelled[#cancelled + 1] = id end
  end
end
save_turn(write_turn('A', number, refused, cancelled, entries))

if holds + #entries > 0 then
  renew()
else
  redis.call('ZREM', workers, ARGV[2])
end

local flags = reconcile and 1 or 0
if not paused then
  local more = (due and due <= now) or ((#entries == limit or full) and any_waiting(tombs, from))
  if more then flags = flags + 2 end
  if redis.call('ZCARD', solo) > 0 then flags = flags + 4 end
end
if limit > 0 and #entries < limit and not full then redis.call('SADD', idle, ARGV[1]) end
if soonest then tell_sweeper(soonest, now) end
if newer then flags = flags + 8 end
if not paused then wake(promoted + arrived - #entries) end

return { 'ok', whole(now), flags, refused, cancelled, entries, envelopes }
