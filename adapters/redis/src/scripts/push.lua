-- Adds one job that may run at once: what enqueue.lua does in the case that is the most frequent,
-- in as few commands as it takes.
--
-- ARGV 1 number of the batch in its lane  2 how long the lane is remembered, ms
--      3 the time by the sender's reckoning, ms  4 the job's id  5 its envelope, as of 3
--
-- Returns the server's time, in ms. Or {} where the case is another: a resend, a job that is known, a
--      delayed one that became due, a bad reckoning. Nothing has changed then, and enqueue.lua is
--      sent.
--
-- Invariant: as in enqueue.lua. Time is the server's.

-- @include clock

local call = redis.call
local GOOD_RECKONING_MS = 1000
local age = now - ARGV[3]
if age < 0 or age > GOOD_RECKONING_MS then return {} end
local first = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
if first[2] and tonumber(first[2]) <= now then return {} end

local before = call('SET', lane, ARGV[1], 'PX', ARGV[2], 'GET')
local is_resent = before and tonumber(string.match(before, '^%d+')) >= tonumber(ARGV[1])
if is_resent or call('HSETNX', jobs, ARGV[4], ARGV[5]) == 0 then
  if before then
    call('SET', lane, before, 'PX', ARGV[2])
  else
    call('DEL', lane)
  end
  return {}
end
call('RPUSH', list, ARGV[4] .. string.sub(ARGV[5], 6, 9))
local to_wake = 1
-- @include wake
return now
