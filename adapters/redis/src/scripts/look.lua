-- Where jobs are, and what is stored of them.
--
-- ARGV 1 1: with envelopes  2-5 retention, as in exchange.lua  6 how many jobs, then their ids,
--      then the incarnations passed
--
-- Returns {'others', names}: pass these. {'ok', now, then for each job: W waiting, D delayed,
--      A active, C, X, K as in its envelope, or '' where it is not known; and its envelope or ''}.
--
-- Changes nothing. Time is the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include places
-- @include finish
-- @include holders

local keep = read_retention(2)
local count = tonumber(ARGV[6])
local names = others_than(7 + count)
if names then return { 'others', names } end

local ids = {}
for i = 1, count do ids[i] = ARGV[6 + i] end
local envelopes = redis.call('HMGET', jobs, unpack(ids))
local pending, entries = {}, {}
for i = 1, count do
  local env = envelopes[i]
  if env and is_pending(env) then
    pending[#pending + 1] = i
    entries[#entries + 1] = entry_of(ids[i], env)
  end
end
local holders = holders_of(entries)
local states = {}
for at, i in ipairs(pending) do
  local env = envelopes[i]
  local priority = tonumber(string.sub(env, 3, 3))
  if holders[at] then
    states[i] = 'A'
  elseif redis.call('ZSCORE', delayed, delayed_member(entries[at], priority, false))
    or redis.call('ZSCORE', delayed, delayed_member(entries[at], priority, true)) then
    states[i] = 'D'
  else
    states[i] = 'W'
  end
end
local answer = { 'ok', whole(now) }
for i = 1, count do
  local env = envelopes[i]
  local state = ''
  if env then state = states[i] or string.sub(env, 2, 2) end
  if env and is_expired(env, keep, now) then state = '' end
  answer[#answer + 1] = state
  answer[#answer + 1] = state ~= '' and ARGV[1] == '1' and env or ''
end
return answer
