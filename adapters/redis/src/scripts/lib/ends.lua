-- Takes note of how jobs ended that are the last runs of their schedules; `states` is the state of
-- all, or has that of each. Behind the id of such a job stands in `runs`, until it ends, p; or, where
-- an occurrence is queued behind it, which may run now, q, the channel on which schedules are told
-- of, and its schedule. Afterwards, its state and when it ended. Only jobs of schedules, whose ids are
-- of version 8, can be there.
local function note_ends(ids, states)
  local mine, ended = {}, {}
  for i = 1, #ids do
    local version = string.byte(ids[i], 7)
    if version >= 128 and version < 144 then
      mine[#mine + 1] = ids[i]
      ended[#mine] = type(states) == 'table' and states[i] or states
    end
  end
  for from = 1, #mine, CHUNK do
    local upto = math.min(from + CHUNK - 1, #mine)
    local found = redis.call('HMGET', runs, unpack(mine, from, upto))
    for i = from, upto do
      local run = found[i - from + 1]
      if run then
        redis.call('HSET', runs, mine[i], ended[i] .. whole(now))
        local channel, schedule = string.match(run, '^q(%S+) (%S+)$')
        if channel then
          redis.call('ZADD', due_schedules, 0, schedule)
          redis.call('PUBLISH', channel, schedule)
        end
      end
    end
  end
end
