-- Renews a lease when there is nothing to exchange.
--
-- ARGV 1 incarnation  2 lease in ms
--
-- Returns {'expired'}: the incarnation is no more, or has never spoken. {'ok', ids to cancel}.
--
-- Invariant: only who holds something stands in `workers`; that does not change here.
-- Time is the server's.

-- @include turn
-- @include clock

local record = redis.call('GET', turn)
if not record then return { 'expired' } end
local life = read_turn(record)
if life.state == 'L' then return { 'expired' } end
redis.call('PEXPIRE', turn, TURN_TTL_MS)
redis.call('ZADD', workers, 'XX', string.format('%.0f', now + ARGV[2]), ARGV[1])
return { 'ok', ids_between(record, life.cancelled_at, life.claimed_at) }
