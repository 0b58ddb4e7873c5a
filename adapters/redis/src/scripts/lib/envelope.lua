-- The envelope: what is stored of a job. A header of fixed width, then the body that was enqueued,
-- then the report of the last attempt, if there is one.
--
--   1     version   1
--   2     state     P pending (waiting, delayed or active: its place says which), C completed,
--                   X dead, K cancelled
--   3     priority  0 to 4
--   4     cancel    c requested while active, - else
--   5     solo      s claimed to run alone, - else
--   6-9   stamp     generation: bit 0 says that the job is kept when it completes, the bits above
--                   it count its transitions
--   10-13 attempts, 14-17 crashes
--   18-25 enqueued at, 26-33 due at, 34-41 finished at (0: it has not), all ms
--   42-49 keep result, ms (0: no wish)
--   50-53 length of the body, which begins here with its own length
local HEADER = '>c1c1c1c1c1I4I4I4I8I8I8I8'
local HEADER_LEN = 49
local VERSION = '\1'

-- An entry is what lists, delayed and held sets have of a job: its id and its stamp. One whose
-- stamp is not the envelope's is a tombstone.
local function entry_of(id, env)
  return id .. string.sub(env, 6, 9)
end

local function read_header(env)
  local job = {}
  job.version, job.state, job.priority, job.cancel, job.solo, job.stamp, job.attempts, job.crashes,
    job.enqueued_at, job.due_at, job.finished_at, job.keep = struct.unpack(HEADER, env)
  return job
end

local function write_header(job)
  return struct.pack(HEADER, VERSION, job.state, job.priority, job.cancel, job.solo, job.stamp,
    job.attempts, job.crashes, job.enqueued_at, job.due_at, job.finished_at, job.keep)
end

-- The body with its length; without the report.
local function body_of(env)
  local len = struct.unpack('>I4', env, HEADER_LEN + 1)
  return string.sub(env, HEADER_LEN + 1, HEADER_LEN + 4 + len)
end

-- What follows the body.
local function report_of(env)
  local len = struct.unpack('>I4', env, HEADER_LEN + 1)
  return string.sub(env, HEADER_LEN + 5 + len)
end

local function is_pending(env)
  return string.byte(env, 2) == 80 -- P
end
