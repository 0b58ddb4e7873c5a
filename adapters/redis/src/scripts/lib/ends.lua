-- Takes note of how jobs ended that are the last runs of their schedules, or the last by hand; called
-- once what is stored of them says so. `states` is the state of all, or has that of each; `envelopes`
-- are those that they had.
--
-- `runs` has, behind the id of such a job, its state and when it ended. Only jobs of schedules, whose
-- ids are of version 8, can be there. An occurrence that is queued behind one may run now, unless the
-- other of the two goes on.
local function note_ends(ids, states, envelopes)
  local sub, byte = string.sub, string.byte
  local mine, ended, stored = {}, {}, {}
  for i = 1, #ids do
    local version = byte(ids[i], 7)
    if version >= 128 and version < 144 then
      local count = #mine + 1
      mine[count] = ids[i]
      ended[count] = type(states) == 'table' and states[i] or states
      stored[count] = envelopes[i]
    end
  end
  for from = 1, #mine, CHUNK do
    local upto = math.min(from + CHUNK - 1, #mine)
    local names, of = {}, {}
    for i = from, upto do
      local env = stored[i]
      -- The options begin with it, behind the job's name, whose length is byte 54.
      local name = env and string.match(env, '^{"by":%["([^"]*)"', 59 + byte(env, 54))
      if name then names[#names + 1], of[#of + 1] = name, i end
    end
    local schedules_of = #names > 0 and redis.call('HMGET', schedules, unpack(names)) or {}
    local notes = {}
    for n = 1, #names do
      local state, i = schedules_of[n], of[n]
      local id = mine[i]
      -- By the offsets that lib/schedule.lua draws.
      local job, hand = state and sub(state, 1, 16), state and sub(state, 17, 32)
      if state and (job == id or hand == id) then
        local is_queued = struct.unpack('>i8', state, 65) ~= -9007199254740992
          and sub(state, 113, 114) == '10'
        local other = is_queued and redis.call('HGET', jobs, job == id and hand or job)
        if is_queued and not (other and byte(other, 2) == 80) then
          redis.call('ZADD', due_schedules, 0, names[n])
          -- {NS}:schedules, by the key {NS:Q}:schedules.
          redis.call('PUBLISH', string.match(schedules, '^{[^:]*') .. '}:schedules', names[n])
        end
        notes[#notes + 1], notes[#notes + 2] = id, ended[i] .. whole(now)
      end
    end
    call_in_chunks('HSET', runs, notes)
  end
end
