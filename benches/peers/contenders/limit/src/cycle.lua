-- Settles a batch, and claims the next.
-- KEYS[1] hash: id to envelope; KEYS[2] list of ids; KEYS[3] set of what this worker has in flight
-- ARGV[1] how many to claim; then the ids of what has ended
-- Returns the envelopes of what was claimed.
if #ARGV > 1 then
    redis.call('SREM', KEYS[3], unpack(ARGV, 2))
    redis.call('HDEL', KEYS[1], unpack(ARGV, 2))
end
local ids = redis.call('LPOP', KEYS[2], ARGV[1])
if not ids then
    return {}
end
redis.call('SADD', KEYS[3], unpack(ids))
return redis.call('HMGET', KEYS[1], unpack(ids))
