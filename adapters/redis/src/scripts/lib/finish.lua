-- The end of jobs: which are kept and for how long, and who is told.
--
--   keep_result set? -- yes --> results                   leave by age alone
--        | no
--        +-- completed, cancelled --> completed           leave by age, or by count
--        +-- dead --> dead                                leave by age, or by count
--
-- A member of a shelf is the job's state and its id; its score, when the job ended (in `results`:
-- when it is forgotten).
local COUNTERS = { C = 'completed', X = 'dead', K = 'cancelled' }

-- What the process that asks keeps: its arguments, from `first` on.
local function read_retention(first)
  return {
    completed_age = tonumber(ARGV[first]),
    completed_count = tonumber(ARGV[first + 1]),
    dead_age = tonumber(ARGV[first + 2]),
    dead_count = tonumber(ARGV[first + 3]),
  }
end

local function age_of(job, keep)
  local age = job.state == 'X' and keep.dead_age or keep.completed_age
  return math.max(age, job.keep)
end

-- Whether a finished job is past its age, whether a sweep has come by or not.
local function is_expired(env, keep, now)
  if is_pending(env) then return false end
  local job = read_header(env)
  return job.finished_at + age_of(job, keep) <= now
end

local function shelf_of(job, keep)
  if job.keep > 0 then return results, job.finished_at + age_of(job, keep) end
  if job.state == 'X' then return dead, job.finished_at, keep.dead_count end
  return completed, job.finished_at, keep.completed_count
end

-- Forgets a finished job.
local function forget(id, env, keep)
  local job = read_header(env)
  local shelf = shelf_of(job, keep)
  redis.call('ZREM', shelf, job.state .. id)
  redis.call('HDEL', jobs, id)
  redis.call('HINCRBY', meta, COUNTERS[job.state], -1)
end

-- What the step has put on shelves, and how many jobs of each state; written by flush_finished.
local shelved, ended = {}, {}

-- Puts a job on its shelf whose header says how it ended; answers whether it is kept. Where it
-- is, the caller stores it.
local function keep_finished(id, job, keep)
  if age_of(job, keep) <= 0 then return false end
  local shelf, score, count = shelf_of(job, keep)
  if count and count <= 0 then return false end
  local onto = shelved[shelf]
  if not onto then
    onto = { count = count }
    shelved[shelf] = onto
  end
  onto[#onto + 1] = whole(score)
  onto[#onto + 1] = job.state .. id
  ended[job.state] = (ended[job.state] or 0) + 1
  return true
end

-- Takes what is too much off a shelf, a bounded number. A shelf is at most a few too long, where
-- nobody has lowered its count.
local function cut_shelf(shelf, count)
  local excess = math.min(redis.call('ZCARD', shelf) - count, 1000)
  if excess <= 0 then return end
  local gone = redis.call('ZPOPMIN', shelf, excess)
  for i = 1, #gone, 2 do
    redis.call('HDEL', jobs, string.sub(gone[i], 2))
    redis.call('HINCRBY', meta, COUNTERS[string.sub(gone[i], 1, 1)], -1)
  end
end

-- Writes what keep_finished has gathered.
local function flush_finished()
  for state, count in pairs(ended) do redis.call('HINCRBY', meta, COUNTERS[state], count) end
  for shelf, members in pairs(shelved) do
    call_in_chunks('ZADD', shelf, members)
    if members.count then cut_shelf(shelf, members.count) end
  end
end
