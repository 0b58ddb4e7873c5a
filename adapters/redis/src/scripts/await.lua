-- Asks to be told when a job ends.
--
-- ARGV 1 id  2 process: who is told, on its own channel  3 for how long, ms  4-7 retention, as in
--      exchange.lua
--
-- Returns 'gone': there is none of that id, or no more. 'ended': it has. 'pending': it has not, and
--      its end will be told.
--
-- Invariant: a process stands under an id at most once; the step that ends the job tells it and
--      takes the id away. Time is the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include finish

local env = redis.call('HGET', jobs, ARGV[1])
if not env or is_expired(env, read_retention(4), now) then return 'gone' end
if not is_pending(env) then return 'ended' end
local who = redis.call('HGET', awaited, ARGV[1]) or ''
local is_there = false
for at = 1, #who, 16 do
  if string.sub(who, at, at + 15) == ARGV[2] then is_there = true end
end
if not is_there then redis.call('HSET', awaited, ARGV[1], who .. ARGV[2]) end
-- Whoever is never told, since its process died, is forgotten with all others at the end.
if redis.call('PTTL', awaited) < tonumber(ARGV[3]) then redis.call('PEXPIRE', awaited, ARGV[3]) end
return 'pending'
