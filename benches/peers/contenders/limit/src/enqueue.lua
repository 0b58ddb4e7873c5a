-- Enqueues a batch.
-- KEYS[1] hash: id to envelope; KEYS[2] list of ids
-- ARGV[1] how many; then so many pairs of id and envelope; then the ids again
local pairs_end = 2 * ARGV[1] + 1
redis.call('HSET', KEYS[1], unpack(ARGV, 2, pairs_end))
return redis.call('RPUSH', KEYS[2], unpack(ARGV, pairs_end + 1))
