-- Forgets a finished job.
--
-- ARGV 1 id  2-5 retention, as in exchange.lua
--
-- Returns 'done', 'unknown', or 'P' where the job has not ended.
--
-- Invariant: as in exchange.lua. Resent, the job is not known. Time is the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include finish

local keep = read_retention(2)
local env = redis.call('HGET', jobs, ARGV[1])
if not env or is_expired(env, keep, now) then return 'unknown' end
if is_pending(env) then return 'P' end
forget(ARGV[1], env, keep)
return 'done'
