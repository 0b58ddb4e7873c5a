-- Enqueues one job, and says so to who listens.
-- KEYS[1] hash: id to envelope; KEYS[2] list of ids; KEYS[3] channel
-- ARGV[1] id; ARGV[2] envelope
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('RPUSH', KEYS[2], ARGV[1])
return redis.call('PUBLISH', KEYS[3], '')
