local MOST_TRIMMED = 1000

-- Forgets finished jobs past their age, a bounded number from each shelf; answers how many.
local function trim(keep, now)
  local trimmed = 0
  local ages = { { completed, keep.completed_age }, { dead, keep.dead_age }, { results, 0 } }
  for _, of in ipairs(ages) do
    local shelf, age = of[1], of[2]
    local gone =
      redis.call('ZRANGE', shelf, '-inf', whole(now - age), 'BYSCORE', 'LIMIT', 0, MOST_TRIMMED)
    if #gone > 0 then
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
    end
  end
  return trimmed
end
