-- No list of values longer than this is unpacked.
local CHUNK = 2000

-- Calls `command key value…` in bounded pieces; CHUNK is even, so that pairs stay together.
local function call_in_chunks(command, key, values)
  local count = #values
  if count == 0 then return end
  for from = 1, count, CHUNK do
    redis.call(command, key, unpack(values, from, math.min(from + CHUNK - 1, count)))
  end
end

-- Numbers are written whole: Lua's own way would round those of 15 digits and more.
local function whole(number)
  return string.format('%.0f', number)
end
