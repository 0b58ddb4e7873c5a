-- What is remembered of an incarnation, in one string that outlives every lease by far:
--
--   1     A alive, L lapsed
--   2-9   number of the last exchange
--   10-13 how many settlements it was refused, 14-17 how many held jobs it is asked to cancel
--   then the refused ids, the ids to cancel, and the entries it claimed in that exchange
local TURN = '>c1I8I4I4'
local TURN_LEN = 17
local TURN_TTL_MS = 3600000

local function read_turn(record)
  local life = {}
  local refused, cancelled
  life.state, life.number, refused, cancelled = struct.unpack(TURN, record)
  life.cancelled_at = TURN_LEN + 1 + refused * 16
  life.claimed_at = life.cancelled_at + cancelled * 16
  return life
end

local function ids_between(record, from, upto)
  local ids = {}
  for at = from, upto - 1, 16 do ids[#ids + 1] = string.sub(record, at, at + 15) end
  return ids
end

local function write_turn(state, number, refused, cancelled, claimed)
  return struct.pack(TURN, state, number, #refused, #cancelled) .. table.concat(refused)
    .. table.concat(cancelled) .. table.concat(claimed)
end

local function save_turn(record)
  redis.call('SET', turn, record, 'PX', TURN_TTL_MS)
end
