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

local now = now_ms()
local number = tonumber(ARGV[1])
local known = {}
local before = redis.call('GET', lane)
if before then
  local last, positions = string.match(before, '^(%d+) ?(.*)$')
  last = tonumber(last)
  if number < last then return { 'late', whole(now) } end
  if number == last then
    for position in string.gmatch(positions, '%d+') do known[#known + 1] = tonumber(position) end
    return { 'ok', whole(now), known }
  end
end

local max_crashes = tonumber(ARGV[3])
local keep = read_retention(4)
local paused = redis.call('HGET', meta, 'paused')

-- What became due goes ahead of what comes now.
local arrived = promote(now)

local alone = must_run_alone(0, max_crashes)
local position, soonest = 0, nil

-- Adds a piece of a run: jobs whose ids begin at `ids` and whose bodies at `bodies`.
local function add(ids, bodies, count, header, stamp, priority, due_at)
  local found = redis.call('HMGET', jobs, unpack(ARGV, ids, ids + count - 1))
  local values, entries = {}, {}
  local new = 0
  for i = 1, count do
    local id, env = ARGV[ids + i - 1], found[i]
    if env and is_expired(env, keep, now) then
      forget(id, env, keep)
      env = false
    end
    if env then
      known[#known + 1] = position + i
    else
      new = new + 1
      values[2 * new - 1] = id
      values[2 * new] = header .. ARGV[bodies + i - 1]
      entries[new] = id .. stamp
    end
  end
  position = position + count
  if new == 0 then return end
  call_in_chunks('HSET', jobs, values)
  if due_at > now then
    local members = {}
    local place = alone and priority + 5 or priority
    for i, entry in ipairs(entries) do
      members[2 * i - 1] = whole(due_at)
      members[2 * i] = place .. entry
    end
    call_in_chunks('ZADD', delayed, members)
    soonest = math.min(soonest or due_at, due_at)
  else
    arrived = arrived + new
    if alone then
      for _, entry in ipairs(entries) do add_solo(entry, priority, false) end
    else
      call_in_chunks('RPUSH', waiting[priority + 1], entries)
    end
  end
end

local at = 8
while at < #ARGV do
  local priority, kept, due, ms = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 3], tonumber(ARGV[at + 4])
  local count = tonumber(ARGV[at + 5])
  local due_at = now
  if due == 'A' then
    due_at = math.min(now + ms, 9007199254740991)
  elseif due == 'T' then
    due_at = ms
  end
  local stamp = tonumber(kept)
  local header = write_header({
    state = 'P', priority = ARGV[at], cancel = '-', solo = '-', stamp = stamp, attempts = 0,
    crashes = 0, enqueued_at = now, due_at = math.max(due_at, 0), finished_at = 0,
    keep = tonumber(ARGV[at + 2]),
  })
  stamp = string.sub(header, 6, 9)
  at = at + 6
  for from = 0, count - 1, CHUNK do
    add(at + from, at + count + from, math.min(CHUNK, count - from), header, stamp, priority, due_at)
  end
  at = at + 2 * count
end

redis.call('SET', lane, number .. ' ' .. table.concat(known, ' '), 'PX', ARGV[2])
if soonest then tell_sweeper(soonest, now) end
if not paused then wake(arrived) end
return { 'ok', whole(now), known }
