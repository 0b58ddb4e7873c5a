-- A worker's whole conversation with a queue: settles what ended, claims what may run, in one step.
--
-- KEYS The last three are passed only where a settlement is of a job of a schedule; the four before
--      them only there, or where there are other settlements than plain ones.
-- ARGV 1 process: the name of this process in `idle`
--      2 incarnation  3 number of the exchange  4 jobs held once settled  5 jobs to claim at most
--      6 1: the worker is alone  7 lease in ms  8 crashes allowed
--      9-12 retention: ages in ms and counts of completed and of dead jobs
--      13 how many plain settlements: of jobs that completed and are not kept
--      14 how many of jobs that completed and are kept as others are, without a wish of their own
--      then the entries of the plain ones, then their ids,
--      then the entries of the kept ones, then their ids, then their reports,
--      then for each other settlement: entry, outcome (C completed, R retry, X dead, K cancelled,
--      L released), delay in ms, report
--
-- Returns {'expired'}: the incarnation is no more. {'refused'}: an old number; nothing happened.
--      {'ok', now, flags, refused ids, ids to cancel, entries claimed, joined, their envelopes}.
--      flags: 1 reconcile, 2 more can be claimed, 4 a job waits that must run alone, 8 an envelope
--      of a newer version is at the front
--
-- Invariant: an id is in at most one of the lists, `solo`, `delayed` and all `held` sets under the
--      stamp of its envelope; only who has it in `held` under that stamp settles it. Resent with
--      the number it had, nothing changes and the claims are answered again.
--
-- Time is the server's. What is rare is included where it is needed: a function costs an exchange
-- that does not call it as much as a command.

-- @include clock

local MAX_CLAIM = 1000
local MAX_BYTES = 1048576
local MAX_TOMBS = 5000
local FIRST_STEP = 16
local PIECE = 2000

local call, sub = redis.call, string.sub
local number = tonumber(ARGV[3])
local limit = math.min(tonumber(ARGV[5]), MAX_CLAIM)
local lease_end = string.format('%.0f', now + ARGV[7])

-- Whose turn it is.
local record = call('GET', turn)
local lost_writes, to_cancel = false, ''
if record then
  -- As lib/turn.lua draws it.
  local state, last, refused_count, cancel_count = struct.unpack('>c1I8I4I4', record)
  if state == 'L' then return { 'expired' } end
  if number < last then return { 'refused' } end
  if number == last then
    -- What was claimed is still held: nothing but a later exchange settles it.
    -- @include turn
    local life = read_turn(record)
    local entries, ids, envelopes = sub(record, life.claimed_at), {}, {}
    for at = 1, #entries, 20 do ids[#ids + 1] = sub(entries, at, at + 15) end
    if #ids > 0 then envelopes = call('HMGET', jobs, unpack(ids)) end
    if call('SCARD', held) > 0 then call('ZADD', workers, lease_end, ARGV[2]) end
    call('PEXPIRE', turn, TURN_TTL_MS)
    local refused = ids_between(record, TURN_LEN + 1, life.cancelled_at)
    local cancelled = ids_between(record, life.cancelled_at, life.claimed_at)
    return { 'ok', now, 2, refused, cancelled, entries, envelopes }
  end
  lost_writes = number > last + 1
  if cancel_count > 0 then
    local first = 18 + 16 * refused_count
    to_cancel = sub(record, first, first + 16 * cancel_count - 1)
  end
elseif number ~= 1 then
  return { 'expired' }
end

local state_of_queue = call('HMGET', meta, 'paused', 'tombs')
local paused, tombs = state_of_queue[1], tonumber(state_of_queue[2] or 0)

-- How many there are of three keys that most queues lack: those need not be asked one by one. Once
-- `delayed` was, it is how many of the other two there can be.
local rare = call('EXISTS', delayed, solo, awaited)

-- What became due goes ahead of what this turn may let wait.
local due
if rare > 0 then
  local first = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if first[2] then
    due, rare = tonumber(first[2]), rare - 1
  end
end
local to_wake = 0
if due and due <= now then
  -- @include chunks
  -- @include places
  -- A full server refuses a script that asks for memory before it has written anything; this
  -- changes nothing, and lets it go on to what frees some.
  call('ZREM', delayed, '')
  to_wake, due = promote(now)
  if has_added_solo then rare = rare + 1 end
end

-- Jobs that completed and are not kept: nothing of them need be read.
local refused = {}
local plain, kept = tonumber(ARGV[13]), tonumber(ARGV[14])
local is_awaited = plain > 0 and rare > 0 and call('EXISTS', awaited) == 1
for from = 15, 14 + plain, PIECE do
  local upto = math.min(from + PIECE - 1, 14 + plain)
  local is_held = call('SMISMEMBER', held, unpack(ARGV, from, upto))
  local all = true
  for i = 1, #is_held do
    if is_held[i] == 0 then
      all = false
      break
    end
  end
  local entries, ids
  if all and not runs then
    call('SREM', held, unpack(ARGV, from, upto))
    call('HDEL', jobs, unpack(ARGV, from + plain, upto + plain))
  else
    entries, ids = {}, {}
    for i = 1, #is_held do
      local id = ARGV[from + plain + i - 1]
      if is_held[i] == 1 then
        entries[#entries + 1] = ARGV[from + i - 1]
        ids[#ids + 1] = id
      else
        refused[#refused + 1] = id
      end
    end
    if #ids > 0 then
      call('SREM', held, unpack(entries))
      local were = runs and call('HMGET', jobs, unpack(ids))
      call('HDEL', jobs, unpack(ids))
      if runs then
        -- @include chunks
        -- @include ends
        note_ends(ids, 'C', were)
      end
    end
  end
  if is_awaited then
    -- @include chunks
    -- @include announce
    announce(ids or { unpack(ARGV, from + plain, upto + plain) })
  end
end

-- Jobs that completed and are kept: what of the envelope changes is at the same place in each.
local first_kept = 15 + 2 * plain
if kept > 0 then
  -- @include chunks
  -- @include envelope
  -- @include finish
  -- @include announce
  local score, ended_at = whole(now), struct.pack('>I8', now)
  local keep, settled, were = read_retention(9), {}, {}
  for from = first_kept, first_kept + kept - 1, PIECE do
    local upto = math.min(from + PIECE - 1, first_kept + kept - 1)
    local is_held = call('SMISMEMBER', held, unpack(ARGV, from, upto))
    local entries, ids, reports = {}, {}, {}
    for i = 1, #is_held do
      local id = ARGV[from + kept + i - 1]
      if is_held[i] == 1 then
        entries[#entries + 1] = ARGV[from + i - 1]
        ids[#ids + 1] = id
        reports[#ids] = ARGV[from + 2 * kept + i - 1]
      else
        refused[#refused + 1] = id
      end
    end
    if #ids > 0 then
      call('SREM', held, unpack(entries))
      local envelopes = call('HMGET', jobs, unpack(ids))
      local stored, members = {}, {}
      for i = 1, #ids do
        local env = envelopes[i]
        if env then
          -- By the offsets that lib/envelope.lua draws.
          local stamp, attempts = struct.unpack('>I4I4', env, 6)
          local last = -1
          if reports[i] ~= '' then last = HEADER_LEN + 4 + struct.unpack('>I4', env, HEADER_LEN + 1) end
          local at = #stored
          stored[at + 1] = ids[i]
          stored[at + 2] = VERSION .. 'C' .. sub(env, 3, 3) .. '--'
            .. struct.pack('>I4I4', stamp + 2, attempts + 1) .. sub(env, 14, 33) .. ended_at
            .. sub(env, 42, last) .. reports[i]
          members[at + 1] = score
          members[at + 2] = 'C' .. ids[i]
          settled[#settled + 1], were[#were + 1] = ids[i], env
        end
      end
      call_in_chunks('HSET', jobs, stored)
      call_in_chunks('ZADD', completed, members)
    end
  end
  if #settled > 0 then
    call('HINCRBY', meta, COUNTERS.C, #settled)
    cut_shelf(completed, keep.completed_count)
    if rare > 0 then announce(settled) end
    if runs then
      -- @include ends
      note_ends(settled, 'C', were)
    end
  end
end

-- All others.
local first_other = first_kept + 3 * kept
local soonest
if #ARGV >= first_other then
  -- @include chunks
  -- @include envelope
  -- @include places
  -- @include finish
  -- @include announce
  -- @include requeue
  local max_crashes, keep = tonumber(ARGV[8]), read_retention(9)

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

  for from = first_other, #ARGV, 4 * PIECE do
    local entries = {}
    for at = from, math.min(from + 4 * PIECE, #ARGV) - 1, 4 do entries[#entries + 1] = ARGV[at] end
    local is_held = call('SMISMEMBER', held, unpack(entries))
    local mine, ids, places = {}, {}, {}
    for i = 1, #entries do
      local id = sub(entries[i], 1, 16)
      if is_held[i] == 1 then
        mine[#mine + 1] = entries[i]
        ids[#ids + 1] = id
        places[#places + 1] = from + 4 * (i - 1)
      else
        refused[#refused + 1] = id
      end
    end
    if #mine > 0 then
      call('SREM', held, unpack(mine))
      local envelopes = call('HMGET', jobs, unpack(ids))
      for i, at in ipairs(places) do
        if envelopes[i] then
          settle_one(ids[i], envelopes[i], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3])
        end
      end
    end
  end
  flush_moves()
  if rare > 0 then announce(gone_ids) end
  if runs then
    -- @include ends
    note_ends(gone_ids, gone_states, gone_envelopes)
  end
  if has_added_solo then rare = rare + 1 end
  to_wake = to_wake + arrived
  soonest = earliest
end

-- Claims: one job that must run alone, where there is one and the worker is alone with it; else
-- entries off the lists, the first priority first, as many as the limit and MAX_BYTES of envelopes
-- allow. How many are read at once goes by how large those before were.
local holds = call('SCARD', held)
local reconcile = lost_writes or holds ~= tonumber(ARGV[4])
local entries, envelopes, count = {}, {}, 0
local full, newer, from = false, false, 1
-- How many of the lists that are not looked at yet can have entries.
local lists = 5
if limit > 0 and not paused then
  if ARGV[6] == '1' and holds == 0 then
    local entry = call('ZPOPMIN', solo)[1]
    local env = entry and call('HGET', jobs, sub(entry, 1, 16))
    if env then
      env = sub(env, 1, 4) .. 's' .. sub(env, 6)
      call('HSET', jobs, sub(entry, 1, 16), env)
      entries[1], envelopes[1] = entry, env
      count, full = 1, true
    end
  end
  local bytes, met, step = 0, 0, FIRST_STEP
  if count < limit and not full then
    lists = call('EXISTS', wait0, wait1, wait2, wait3, wait4)
  end
  for place = 1, 5 do
    if lists == 0 or count == limit or full then break end
    from = place
    local list = KEYS[FIRST_LIST + place - 1]
    local has_entries = false
    while count < limit and not full do
      local wanted = math.min(step, limit - count)
      local popped = call('LPOP', list, wanted)
      if not popped then break end
      has_entries = true
      local ids = {}
      for i = 1, #popped do ids[i] = sub(popped[i], 1, 16) end
      local found = call('HMGET', jobs, unpack(ids))
      for i = 1, #popped do
        local entry, env = popped[i], found[i]
        if env and string.byte(env) ~= 1 then newer = true end
        if newer or bytes >= MAX_BYTES then
          local rest = {}
          for r = #popped, i, -1 do rest[#rest + 1] = popped[r] end
          call('LPUSH', list, unpack(rest))
          full = true
          break
        end
        if env and sub(env, 6, 9) == sub(entry, 17) then
          count = count + 1
          entries[count] = entry
          envelopes[count] = env
          bytes = bytes + #env
        else
          met = met + 1
        end
      end
      if met >= MAX_TOMBS or bytes >= MAX_BYTES then full = true end
      if #popped < wanted then break end
      step = MAX_CLAIM
      if count > 0 then
        step = math.max(1, math.min(MAX_CLAIM, math.floor((MAX_BYTES - bytes) * count / bytes)))
      end
    end
    if has_entries then lists = lists - 1 end
  end
  if met > 0 then
    call('HINCRBY', meta, 'tombs', -met)
    tombs = tombs - met
  end
  if count > 0 then call('SADD', held, unpack(entries)) end
end

-- Jobs to cancel are named until they are settled.
local cancelled = {}
if to_cancel ~= '' then
  local settled = {}
  for i = 15 + plain, 14 + 2 * plain do settled[ARGV[i]] = true end
  for i = first_kept + kept, first_kept + 2 * kept - 1 do settled[ARGV[i]] = true end
  for i = first_other, #ARGV, 4 do settled[sub(ARGV[i], 1, 16)] = true end
  for at = 1, #to_cancel, 16 do
    local id = sub(to_cancel, at, at + 15)
    if not settled[id] then cancelled[#cancelled + 1] = id end
  end
end
entries = table.concat(entries)
call('SET', turn, struct.pack('>c1I8I4I4', 'A', number, #refused, #cancelled)
  .. table.concat(refused) .. table.concat(cancelled) .. entries, 'PX', 3600000)

if holds + count > 0 then
  call('ZADD', workers, lease_end, ARGV[2])
else
  call('ZREM', workers, ARGV[2])
end

local flags = reconcile and 1 or 0
if not paused then
  local more = due and due <= now
  if not more and (count == limit or full) then
    -- The lists ahead of `from` are empty.
    local waits = -tombs
    for place = from, 5 do
      waits = waits + call('LLEN', KEYS[FIRST_LIST + place - 1])
      if waits > 0 or lists == 0 then break end
    end
    more = waits > 0
  end
  if more then flags = flags + 2 end
  if rare > 0 and call('ZCARD', solo) > 0 then flags = flags + 4 end
  to_wake = to_wake - count
else
  to_wake = 0
end
if newer then flags = flags + 8 end
if limit > 0 and count < limit and not full then call('SADD', idle, ARGV[1]) end
if soonest then
  -- @include sweeper
end
-- @include wake
return { 'ok', now, flags, refused, cancelled, entries, envelopes }
