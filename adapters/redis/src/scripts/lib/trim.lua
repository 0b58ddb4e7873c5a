local MOST_TRIMMED = 1000

-- Forgets finished jobs past their age, a bounded number from each shelf; answers how many, and when
-- the first of the others is to go, if there is any.
local function trim(keep, now)
  local trimmed, soonest = 0, nil
  local ages = { { completed, keep.completed_age }, { dead, keep.dead_age }, { results, 0 } }
  for _, of in ipairs(ages) do
    local shelf, age = of[1], of[2]
    local function first_to_go()
      local first = redis.call('ZRANGE', shelf, 0, 0, 'WITHSCORES')[2]
      return first and tonumber(first) + age
    end
    local first = first_to_go()
    if first and first <= now then
      local gone =
        redis.call('ZRANGE', shelf, '-inf', whole(now - age), 'BYSCORE', 'LIMIT', 0, MOST_TRIMMED)
      local ids, counts = {}, {}
      for i, member in ipairs(gone) do
        ids[i] = string.sub(member, 2)
        local counter = COUNTERS[string.sub(member, 1, 1)]
        counts[counter] = (counts[counter] or 0) + 1
      end
      call_in_chunks('HDEL', jobs, ids)
      redis.call('ZREMRANGEBYRANK', shelf, 0, #gone - 1)
      for counter, count in pairs(counts) do redis.call('HINCRBY', meta, counter, -count) end
      trimmed = trimmed + #gone
      first = first_to_go()
    end
    if first then soonest = math.min(soonest or first, first) end
  end
  return trimmed, soonest
end
