-- Takes note that a process of an application is there, with the release that it is of.
--
-- ARGV 1 application  2 process  3 release  4 for how long the process counts as there, ms
--      5 the ids of the schedules that the release declares, with spaces between them
--      6 the channel on which schedules are told of: there are other releases now
--
-- Returns {now, the release that was first seen latest, whether this one is seen for the first time,
--      1 or 0, how many are live, ids that any of them declares…}.
--
-- Stored is: p, application and process → its release, and until when it is there, ms; r,
--      application and release → a number that rises with each that is first seen, then its ids; s,
--      application → the last of these numbers.
-- Invariant: a release is there as long as a process of it is. Resent, nothing changes but times.
-- Time is the server's.

-- @include chunks
-- @include clock

local app, own = ARGV[1], 'p ' .. ARGV[1] .. ' ' .. ARGV[2]
local all = redis.call('HGETALL', releases)
local live, seen = { [ARGV[3]] = true }, {}
local gone, last = {}, 0
for i = 1, #all, 2 do
  local kind, of, name = string.match(all[i], '^(%a) (%S+) ?(.*)$')
  if of == app then
    if kind == 'p' and all[i] ~= own then
      local release, upto = string.match(all[i + 1], '^(%S+) (%S+)$')
      if tonumber(upto) > now then live[release] = true else gone[#gone + 1] = all[i] end
    elseif kind == 'r' then
      local number, ids = string.match(all[i + 1], '^(%d+) ?(.*)$')
      seen[name] = { number = tonumber(number), ids = ids }
    elseif kind == 's' then
      last = tonumber(all[i + 1])
    end
  end
end
local is_new = not seen[ARGV[3]]
local is_changed = is_new
for release in pairs(seen) do
  if not live[release] then
    gone[#gone + 1] = 'r ' .. app .. ' ' .. release
    seen[release] = nil
    is_changed = true
  end
end
local written = { own, ARGV[3] .. ' ' .. whole(now + ARGV[4]) }
if not seen[ARGV[3]] then
  seen[ARGV[3]] = { number = last + 1, ids = ARGV[5] }
  written[3], written[4] = 'r ' .. app .. ' ' .. ARGV[3], whole(last + 1) .. ' ' .. ARGV[5]
  written[5], written[6] = 's ' .. app, whole(last + 1)
end
call_in_chunks('HDEL', releases, gone)
redis.call('HSET', releases, unpack(written))
if is_changed then redis.call('PUBLISH', ARGV[6], ARGV[3]) end

local ruling, count, declared = ARGV[3], 0, {}
for release, of in pairs(seen) do
  count = count + 1
  if of.number > seen[ruling].number then ruling = release end
  for id in string.gmatch(of.ids, '%S+') do declared[id] = true end
end
local answer = { whole(now), ruling, is_new and 1 or 0, count }
for id in pairs(declared) do answer[#answer + 1] = id end
return answer
