-- Tells which schedules of this queue have something to fire, or will have soon.
--
-- ARGV 1 how many at most  2 how far ahead, ms
--
-- Returns {now, when the next is due that is not by then, or -, when then is, 1 where there may be
--      more by then, then of each its id and what is stored}.
--
-- Invariant: `due_schedules` has what is stored and active, by when it is looked at; 0 is at once.
--      What fire_plain.lua has fired stands there as it was before, and is moved on when it is met
--      here. What is gone is taken out. Time is the server's.

-- @include chunks
-- @include clock
-- @include schedule

local EXAMINED = 1000
local limit, by = tonumber(ARGV[1]), now + ARGV[2]
local names = redis.call('ZRANGE', due_schedules, '-inf', whole(by), 'BYSCORE', 'LIMIT', 0, EXAMINED)
local told, moved, gone = {}, {}, {}
if #names > 0 then
  local stored = redis.call('HMGET', schedules, unpack(names))
  for i = 1, #names do
    local state = stored[i]
    if not state then
      gone[#gone + 1] = names[i]
    else
      local due, queued = due_and_queued(state)
      if queued == NONE and due > by then
        moved[#moved + 1] = whole(due)
        moved[#moved + 1] = names[i]
      elseif #told < 2 * limit then
        told[#told + 1] = names[i]
        told[#told + 1] = state
      end
    end
  end
  call_in_chunks('ZADD', due_schedules, moved)
  call_in_chunks('ZREM', due_schedules, gone)
end
local following = redis.call('ZRANGE', due_schedules, '(' .. whole(by), '+inf', 'BYSCORE', 'LIMIT',
  0, 1, 'WITHSCORES')
following = following[2] and whole(tonumber(following[2])) or '-'
return { whole(now), following, whole(by), #names == EXAMINED and 1 or 0, unpack(told) }
