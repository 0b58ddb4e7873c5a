-- Tells whoever waits for one of these jobs to end that it has. `awaited` has the names of the
-- processes that wait, 16 bytes each, under the job's id; it is not there while nobody waits.
local function announce(ids)
  if #ids == 0 or redis.call('EXISTS', awaited) == 0 then return end
  for from = 1, #ids, CHUNK do
    local upto = math.min(from + CHUNK - 1, #ids)
    local who = redis.call('HMGET', awaited, unpack(ids, from, upto))
    for i = 1, upto - from + 1 do
      if who[i] then
        local id = ids[from + i - 1]
        for at = 1, #who[i], 16 do
          redis.call('PUBLISH', idle .. ':' .. string.sub(who[i], at, at + 15), 'f' .. id)
        end
        redis.call('HDEL', awaited, id)
      end
    end
  end
end
