-- Finding who holds a job. The keys of an incarnation's set and turn have its name in them, so
-- whoever asks passes the incarnations it knows of; where `workers` has others by now, the script
-- answers their names and is sent again.
--
-- KEYS from HOLDERS on: `held` and `turn` of each. ARGV from `first` on: their names.

-- The names in `workers`, where they are not those that were passed; else nil.
local function others_than(first)
  local names = redis.call('ZRANGE', workers, 0, -1)
  local passed = {}
  for i = first, #ARGV do passed[ARGV[i]] = true end
  for _, name in ipairs(names) do
    if not passed[name] then return names end
  end
end

-- Which of these entries are held: a table from position to the place of the holder among KEYS.
local function holders_of(entries)
  local holders = {}
  if #entries == 0 then return holders end
  for key = HOLDERS, #KEYS, 2 do
    for from = 1, #entries, CHUNK do
      local upto = math.min(from + CHUNK - 1, #entries)
      local is_held = redis.call('SMISMEMBER', KEYS[key], unpack(entries, from, upto))
      for i = 1, #is_held do
        if is_held[i] == 1 then holders[from + i - 1] = key end
      end
    end
  end
  return holders
end
