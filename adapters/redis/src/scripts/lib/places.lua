-- The places of a pending job that nobody holds: a list for each priority, `solo` for jobs that
-- must run alone, `delayed` for those due later.
--
-- What a step moves is gathered first and written at its end, with many values in each command.
local waiting = { wait0, wait1, wait2, wait3, wait4 }
local STEP = 1000

-- Gathers an entry for a place.
local function push(lists, place, entry)
  local list = lists[place]
  if not list then
    list = {}
    lists[place] = list
  end
  list[#list + 1] = entry
end

-- In `solo`, the score orders by priority, and within it by a number that rises at the back and
-- falls at the front.
local SOLO_BAND = 2 ^ 50
local has_added_solo = false

local function add_solo(entry, priority, at_front)
  local number
  if at_front then
    number = -redis.call('HINCRBY', meta, 'solo_front', 1)
  else
    number = redis.call('HINCRBY', meta, 'solo_back', 1)
  end
  redis.call('ZADD', solo, whole(priority * SOLO_BAND + SOLO_BAND / 2 + number), entry)
  has_added_solo = true
end

-- A member of `delayed`: which place it goes to when it is due (0 to 4: a list; 5 to 9: `solo`),
-- then the entry.
local function delayed_member(entry, priority, alone)
  return (alone and priority + 5 or priority) .. entry
end

local function must_run_alone(crashes, max_crashes)
  return crashes + 1 >= max_crashes
end

-- When the first delayed job is due.
local function next_due()
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end

-- Lets jobs wait that are due, a bounded number of them; answers how many, and when the first of
-- the others is due. Whoever lets a job wait calls this before, so that the two stand in the order
-- in which they became due.
local function promote(now)
  local first = next_due()
  if not first or first > now then return 0, first end
  local due = redis.call('ZRANGE', delayed, '-inf', whole(now), 'BYSCORE', 'LIMIT', 0, STEP)
  local count = #due
  local lists = {}
  for i = 1, count do
    local member = due[i]
    local place = string.byte(member) - 48
    local entry = string.sub(member, 2)
    if place >= 5 then
      add_solo(entry, place - 5, false)
    else
      push(lists, place + 1, entry)
    end
  end
  for place = 1, 5 do
    if lists[place] then call_in_chunks('RPUSH', waiting[place], lists[place]) end
  end
  redis.call('ZREMRANGEBYRANK', delayed, 0, count - 1)
  return count, next_due()
end

-- Whether a job waits that a claim beside others would be given. `tombs`: how many entries of the
-- lists are tombstones. The lists ahead of `from` are empty.
local function any_waiting(tombs, from)
  local entries = 0
  for place = from, 5 do
    entries = entries + redis.call('LLEN', waiting[place])
    if entries > tombs then return true end
  end
  return false
end
