-- Does what time does to a queue: finished jobs are forgotten, due jobs wait, lapsed leases are
-- suspected; a bounded part of each.
--
-- ARGV 1 process, which can be told of a sweep needed earlier  2 grace in ms  3 lease in ms
--      4-7 retention, as in exchange.lua
--
-- Returns {now, promoted, trimmed, next, claimable (1 or 0), then incarnation and end of lease of
--      each that was suspected for longer than the grace}: recover.lua takes their jobs back.
--      next: ms until the next sweep is needed; 0: at once; -1: not before something happens.
--
-- Invariant: who gives a sign of life changes the end of its lease, and is no longer suspected of
--      having let the old one pass. Time is the server's; a lease that a clock set back would
--      lengthen by more than three of its lengths is cut.

-- Of an idle queue it looks at each key once, and no further: an idle process costs its server
-- little but this.

-- @include chunks
-- @include clock
-- @include envelope
-- @include places
-- @include finish
-- @include trim

local MOST_WORKERS = 100

local grace, lease = tonumber(ARGV[2]), tonumber(ARGV[3])
local keep = read_retention(4)
local soonest

local function at_latest(time)
  if not soonest or time < soonest then soonest = time end
end

-- What frees memory comes first.
local trimmed, first_to_go = trim(keep, now)
if first_to_go then at_latest(first_to_go) end
local first_lease = redis.call('ZRANGE', workers, 0, 0, 'WITHSCORES')[2]
local has_passed = first_lease and tonumber(first_lease) <= now
-- Without a lease that has passed, nobody is suspected. Either command lets a full server go on, as in
-- exchange.lua, also where nothing was freed.
if has_passed then redis.call('HDEL', suspects, '') else redis.call('DEL', suspects) end
local promoted, due = promote(now)

-- The leases that have passed.
local lapsed, passed = {}, {}
if has_passed then
  passed = redis.call('ZRANGE', workers, '-inf', whole(now), 'BYSCORE', 'LIMIT', 0, MOST_WORKERS,
    'WITHSCORES')
end
for i = 1, #passed, 2 do
  local who, lease_end = passed[i], whole(tonumber(passed[i + 1]))
  local suspicion = redis.call('HGET', suspects, who)
  local of, upto = string.match(suspicion or '', '^(%d+) (%d+)$')
  if of ~= lease_end or tonumber(upto) > now + grace then
    upto = whole(now + grace)
    redis.call('HSET', suspects, who, lease_end .. ' ' .. upto)
  end
  if tonumber(upto) <= now then
    lapsed[#lapsed + 1] = who
    lapsed[#lapsed + 1] = lease_end
  else
    at_latest(tonumber(upto))
  end
end

-- The next lease to pass.
if first_lease then
  local running = redis.call('ZRANGE', workers, '(' .. whole(now), '+inf', 'BYSCORE', 'LIMIT', 0,
    1, 'WITHSCORES')
  if running[2] then at_latest(tonumber(running[2])) end
  local longest = redis.call('ZRANGE', workers, -1, -1, 'WITHSCORES')
  if longest[2] and tonumber(longest[2]) > now + 4 * lease then
    redis.call('ZADD', workers, whole(now + lease), longest[1])
    at_latest(now + lease)
  end
end

if due then at_latest(due) end
local next = -1
-- What is never due needs no timer.
if soonest and soonest < 9007199254740991 then next = math.max(0, soonest - now) end
redis.call('SADD', sweepers, ARGV[1])
redis.call('HSET', meta, 'horizon', next >= 0 and whole(now + next) or '9007199254740991')

local paused, tombs = unpack(redis.call('HMGET', meta, 'paused', 'tombs'))
local claimable = 0
if not paused then
  local is_any = redis.call('EXISTS', wait0, wait1, wait2, wait3, wait4, solo) > 0
  if (due and due <= now)
    or is_any and (any_waiting(tonumber(tombs or 0), 1) or redis.call('ZCARD', solo) > 0)
  then
    claimable = 1
  end
  local to_wake = promoted
  -- @include wake
end
return { whole(now), promoted, trimmed, whole(next), claimable, unpack(lapsed) }
