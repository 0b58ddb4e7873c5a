-- Cancels a job: one that waits or is delayed ends here and now; of an active one it is noted, in
-- its envelope and for the worker that holds it.
--
-- ARGV 1 id  2 crashes allowed  3-6 retention, as in exchange.lua  7 unused, then the incarnations
--      passed
--
-- Returns {'others', names}: pass these. {'cancelled'}, {'requested'}, {'unknown'}, {state} of one
--      that has ended.
--
-- Invariant: a job that waits in a list leaves its entry there as a tombstone, and is counted in
--      `tombs`. Resent, the answer is that of a job that has ended. Time is the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include turn
-- @include places
-- @include finish
-- @include announce
-- @include ends
-- @include requeue
-- @include holders

local names = others_than(8)
if names then return { 'others', names } end

local id = ARGV[1]
local keep = read_retention(3)
local env = redis.call('HGET', jobs, id)
if not env or is_expired(env, keep, now) then return { 'unknown' } end
local job = read_header(env)
if job.state ~= 'P' then return { job.state } end

local entry = entry_of(id, env)
local holder = holders_of({ entry })[1]
if holder then
  if job.cancel ~= 'c' then
    redis.call('HSET', jobs, id, string.sub(env, 1, 3) .. 'c' .. string.sub(env, 5))
  end
  local turn = KEYS[holder + 1]
  local record = redis.call('GET', turn)
  if record then
    local life = read_turn(record)
    local cancelled = ids_between(record, life.cancelled_at, life.claimed_at)
    local is_told = false
    for _, told in ipairs(cancelled) do is_told = is_told or told == id end
    if not is_told then
      cancelled[#cancelled + 1] = id
      redis.call('SET', turn, write_turn(life.state, life.number,
        ids_between(record, TURN_LEN + 1, life.cancelled_at), cancelled,
        { string.sub(record, life.claimed_at) }), 'PX', TURN_TTL_MS)
    end
  end
  return { 'requested' }
end

local priority = tonumber(job.priority)
local removed = redis.call('ZREM', solo, entry)
  + redis.call('ZREM', delayed, delayed_member(entry, priority, false),
    delayed_member(entry, priority, true))
if removed == 0 then redis.call('HINCRBY', meta, 'tombs', 1) end
move(id, env, job, 'K', nil, tonumber(ARGV[2]), keep, now)
flush_moves()
announce(gone_ids)
note_ends(gone_ids, gone_states, gone_envelopes)
return { 'cancelled' }
