-- What becomes of a job that its holder had to let go: its new header, and where it goes.
--
-- Moves are gathered, and written by flush_moves: first the envelopes, then the places. Then
-- `arrived` is how many jobs came to wait, `earliest` when the first of the delayed is due, and
-- `gone_ids` has the jobs whose end is to be announced, `gone_states` how each ended, `gone_envelopes`
-- what they were before.
local stored, front, back, later, gone = {}, {}, {}, {}, {}
local gone_ids, gone_states, gone_envelopes = {}, {}, {}
local arrived, earliest = 0, nil

-- Takes a job on: `to` is F (waits ahead of all others of its priority), B (behind them), L
-- (delayed until due_at) or the state in which it ends.
local function move(id, env, job, to, report, max_crashes, keep, now)
  job.stamp = job.stamp + 2
  job.cancel, job.solo = '-', '-'
  local body = body_of(env)
  report = report or report_of(env)
  if to == 'F' or to == 'B' or to == 'L' then
    local env = write_header(job) .. body .. report
    local entry = entry_of(id, env)
    local priority = tonumber(job.priority)
    local alone = must_run_alone(job.crashes, max_crashes)
    stored[#stored + 1] = id
    stored[#stored + 1] = env
    if to == 'L' then
      later[#later + 1] = whole(job.due_at)
      later[#later + 1] = delayed_member(entry, priority, alone)
      earliest = math.min(earliest or job.due_at, job.due_at)
    else
      arrived = arrived + 1
      if alone then
        add_solo(entry, priority, to == 'F')
      else
        push(to == 'F' and front or back, priority + 1, entry)
      end
    end
    return
  end
  job.state = to
  job.finished_at = now
  gone_ids[#gone_ids + 1] = id
  gone_states[#gone_ids], gone_envelopes[#gone_ids] = to, env
  if keep_finished(id, job, keep) then
    stored[#stored + 1] = id
    stored[#stored + 1] = write_header(job) .. body .. report
  else
    gone[#gone + 1] = id
  end
end

local function flush_moves()
  call_in_chunks('HSET', jobs, stored)
  call_in_chunks('HDEL', jobs, gone)
  for place = 1, 5 do
    -- One after the other to the front would turn their order round.
    if front[place] then
      local list = front[place]
      local turned = {}
      for i = #list, 1, -1 do turned[#turned + 1] = list[i] end
      call_in_chunks('LPUSH', waiting[place], turned)
    end
    if back[place] then call_in_chunks('RPUSH', waiting[place], back[place]) end
  end
  call_in_chunks('ZADD', delayed, later)
  flush_finished()
end
