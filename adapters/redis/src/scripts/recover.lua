-- Takes back jobs of an incarnation whose lease has passed, a bounded number; from the first of
-- them on it is lapsed, and whatever it sends is answered so.
--
-- ARGV 1 incarnation  2 the end of its lease, as sweep.lua has told it  3 crashes allowed
--      4-7 retention, as in exchange.lua  8, 9 why a job is dead, in two sentences; %d in the first
--      is the number of crashes
--
-- Returns {now, more (1 or 0), how many jobs became due, then for each job taken back: id, envelope
--      as it was, crashes, state}.
--
-- Invariant: each job taken back counts one crash, begun or not. It goes ahead of all others of
--      its priority; or is cancelled, if that was requested; or is dead, where it was claimed alone
--      and the crash is the last allowed. Resent, it takes back what is left.
-- Time is the server's.

-- @include chunks
-- @include clock
-- @include envelope
-- @include turn
-- @include places
-- @include finish
-- @include announce
-- @include ends
-- @include requeue

local MOST = 500

local who, lease_end = ARGV[1], tonumber(ARGV[2])
local score = tonumber(redis.call('ZSCORE', workers, who) or -1)
local record = redis.call('GET', turn)
local is_lapsed = record and string.sub(record, 1, 1) == 'L'
-- It gave a sign of life meanwhile, or all is taken back.
if score < 0 or (not is_lapsed and (score ~= lease_end or score > now)) then
  return { whole(now), 0, 0 }
end
local keep = read_retention(4)
local max_crashes = tonumber(ARGV[3])
-- Lets a full server go on, as in exchange.lua.
redis.call('ZREM', delayed, '')
if not is_lapsed then
  if record then
    save_turn('L' .. string.sub(record, 2))
  else
    save_turn(write_turn('L', 0, {}, {}, {}))
  end
end

local promoted = promote(now)
local entries = redis.call('SPOP', held, MOST)
-- The ids of jobs made one after the other rise: so they come back in their old order, nearly.
table.sort(entries)
local answer = { whole(now), 0, promoted }
if #entries > 0 then
  local ids = {}
  for i = 1, #entries do ids[i] = string.sub(entries[i], 1, 16) end
  local envelopes = redis.call('HMGET', jobs, unpack(ids))
  for i = 1, #entries do
    local id, env = ids[i], envelopes[i]
    if env and entry_of(id, env) == entries[i] then
      local job = read_header(env)
      job.crashes = job.crashes + 1
      local to, report = 'F', nil
      if job.cancel == 'c' then
        to = 'K'
      elseif job.solo == 's' and job.crashes >= max_crashes then
        to = 'X'
        local times = job.crashes == 1 and 'once' or job.crashes .. ' times'
        report = cjson.encode({
          started_at = now, finished_at = now,
          failure = { kind = 'crash', chain = { (string.gsub(ARGV[8], '%%d', times)), ARGV[9] } },
        })
      end
      move(id, env, job, to, report, max_crashes, keep, now)
      answer[#answer + 1] = id
      answer[#answer + 1] = env
      answer[#answer + 1] = job.crashes
      answer[#answer + 1] = (to == 'F') and 'W' or to
    end
  end
  flush_moves()
  announce(gone_ids)
  note_ends(gone_ids, gone_states, gone_envelopes)
end
if redis.call('SCARD', held) == 0 then
  redis.call('ZREM', workers, who)
  redis.call('HDEL', suspects, who)
else
  answer[2] = 1
end
local to_wake = promoted + arrived
-- @include wake
return answer
