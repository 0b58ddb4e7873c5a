-- Takes note that a process of an application is there no more.
--
-- ARGV 1 application  2 process  3 the channel on which schedules are told of: there are other
--      releases now
--
-- Returns 1 where it was. Resent, it is 0. A release without a process is forgotten by declare.lua.

local own = 'p ' .. ARGV[1] .. ' ' .. ARGV[2]
local stored = redis.call('HGET', releases, own)
if not stored then return 0 end
redis.call('HDEL', releases, own)
local release, others = string.match(stored, '^%S+'), 0
local all = redis.call('HGETALL', releases)
for i = 1, #all, 2 do
  local app = string.match(all[i], '^p (%S+) ')
  if app == ARGV[1] and string.match(all[i + 1], '^%S+') == release then others = others + 1 end
end
if others == 0 then redis.call('PUBLISH', ARGV[3], release) end
return 1
