-- Tells which schedules of this queue have something to fire, or will have soon.
--
-- ARGV 1 how many at most  2 how far ahead, ms
--
-- Returns {now, when the next is due that is not by then, or -, when then is, then of each its id and
--      what is stored}.
--
-- Invariant: `due_schedules` has what is stored and active, by when it is looked at; 0 is at once.
--      What is gone is taken out. Time is the server's.

-- @include chunks
-- @include clock

local by = whole(now + ARGV[2])
local names = redis.call('ZRANGE', due_schedules, '-inf', by, 'BYSCORE', 'LIMIT', 0, ARGV[1])
local following = redis.call('ZRANGE', due_schedules, '(' .. by, '+inf', 'BYSCORE', 'LIMIT', 0, 1,
  'WITHSCORES')
local answer = { whole(now), following[2] and whole(tonumber(following[2])) or '-', by }
if #names > 0 then
  local stored = redis.call('HMGET', schedules, unpack(names))
  for i = 1, #names do
    if stored[i] then
      answer[#answer + 1] = names[i]
      answer[#answer + 1] = stored[i]
    else
      redis.call('ZREM', due_schedules, names[i])
    end
  end
end
return answer
