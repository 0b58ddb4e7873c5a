-- Lets claims answer nothing, or ends that.
--
-- ARGV 1 'pause' or 'resume'
--
-- Returns 1 where that changed something, else 0. Resent, it changes nothing.

-- @include chunks
-- @include places

if ARGV[1] == 'pause' then return redis.call('HSETNX', meta, 'paused', 1) end
local was_paused = redis.call('HDEL', meta, 'paused')
if was_paused == 1 then
  local to_wake = redis.call('ZCARD', solo)
  for place = 1, 5 do to_wake = to_wake + redis.call('LLEN', waiting[place]) end
  -- @include wake
end
return was_paused
