-- How many jobs are in each state. Forgets first what is past its age, a bounded number.
--
-- ARGV 1-4 retention, as in exchange.lua
--
-- Returns {waiting, delayed, active, completed, dead, cancelled, paused (1 or 0)}.
--
-- Invariant: every job of `jobs` is in one place, so that the active ones are those in no other.
-- Time is the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include places
-- @include finish
-- @include trim

trim(read_retention(1), now)
local counted = redis.call('HMGET', meta, 'tombs', 'completed', 'dead', 'cancelled', 'paused')
local tombs, ended, buried, cancelled =
  tonumber(counted[1] or 0), tonumber(counted[2] or 0), tonumber(counted[3] or 0),
  tonumber(counted[4] or 0)
local waits = redis.call('ZCARD', solo) - tombs
for place = 1, 5 do waits = waits + redis.call('LLEN', waiting[place]) end
local later = redis.call('ZCARD', delayed)
local active = redis.call('HLEN', jobs) - waits - later - ended - buried - cancelled
return { waits, later, active, ended, buried, cancelled, counted[5] and 1 or 0 }
