-- Defines a schedule of this queue.
--
-- ARGV 1 id  2 definition, as JSON  3 next occurrence in ms, or -  4 a revision that it had in
--      another queue, or 0  5 the channel on which changes of schedules are told
--
-- Returns 'created', 'replaced', or 'unchanged': then its next occurrence and revision stay.
--
-- Stored is: revision, next, enabled and overlap are the definition's own, last occurrence, id of
--      the job it made, fired, overlapped, missed, the firing that made it; then a line feed and
--      the definition.
-- Invariant: a schedule's revision never falls, also over its removal. Resent, it is unchanged.

-- @include chunks

local stored = redis.call('HGET', schedules, ARGV[1])
local revision = tonumber(ARGV[4])
local answer, kept = 'created', '- - 0 0 0 -'
if stored then
  local head, definition = string.match(stored, '^([^\n]*)\n(.*)$')
  if definition == ARGV[2] then return 'unchanged' end
  local was
  was, kept = string.match(head, '^(%d+) %S+ (.*)$')
  revision = math.max(revision, tonumber(was))
  answer = 'replaced'
else
  revision = math.max(revision, tonumber(redis.call('HGET', meta, 'retired') or 0))
end
redis.call('HSET', schedules, ARGV[1],
  whole(revision + 1) .. ' ' .. ARGV[3] .. ' ' .. kept .. '\n' .. ARGV[2])
redis.call('PUBLISH', ARGV[5], ARGV[1])
return answer
