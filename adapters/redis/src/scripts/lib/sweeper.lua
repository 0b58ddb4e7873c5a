-- Tells somebody of a delayed job that is due at `soonest`, if nobody would come in time for it.
-- The horizon, a field of `meta`, is when the next sweep is sure to come; one of `sweepers` is told
-- of an earlier one.
local horizon = tonumber(redis.call('HGET', meta, 'horizon') or 0)
if horizon <= now or soonest < horizon then
  for _ = 1, 100 do
    local who = redis.call('SRANDMEMBER', sweepers)
    if not who then break end
    if redis.call('PUBLISH', idle .. ':' .. who, 's') > 0 then
      redis.call('HSET', meta, 'horizon', string.format('%.0f', soonest))
      break
    end
    redis.call('SREM', sweepers, who)
  end
end
