-- What an incarnation holds, a part of it.
--
-- ARGV 1 cursor: 0, then what was answered
--
-- Returns {'expired'}: the incarnation is no more. {'ok', next cursor (0: that was all), entries}.
--      An entry may come twice while the set changes.
--
-- Changes nothing.

-- @include turn

local record = redis.call('GET', turn)
if not record or read_turn(record).state == 'L' then return { 'expired' } end
local page = redis.call('SSCAN', held, ARGV[1], 'COUNT', 1000)
return { 'ok', page[1], page[2] }
