-- Wake-ups. A worker that found nothing more to claim stands in the set `idle` under its process's
-- name; whoever lets jobs wait takes as many names out as there are jobs and tells each on its own
-- channel. A name whose process is gone has no receiver, and the next is taken.
--
-- The horizon, a field of `meta`, is when the next sweep is sure to come. Who brings a delayed job
-- that is due before tells one of `sweepers`, which then knows.
local MOST_WOKEN = 100

local function wake(count)
  for _ = 1, MOST_WOKEN do
    if count <= 0 then return end
    local who = redis.call('SPOP', idle)
    if not who then return end
    if redis.call('PUBLISH', idle .. ':' .. who, 'w') > 0 then count = count - 1 end
  end
end

-- Tells somebody of a delayed job, if nobody would come in time for it.
local function tell_sweeper(due, now)
  local horizon = tonumber(redis.call('HGET', meta, 'horizon') or 0)
  if horizon > now and due >= horizon then return end
  for _ = 1, MOST_WOKEN do
    local who = redis.call('SRANDMEMBER', sweepers)
    if not who then return end
    if redis.call('PUBLISH', idle .. ':' .. who, 's') > 0 then
      redis.call('HSET', meta, 'horizon', whole(due))
      return
    end
    redis.call('SREM', sweepers, who)
  end
end
