-- Takes a schedule out of the index of where schedules are, if it is still there.
--
-- ARGV 1 id  2 what stood there: the queue in which it was, and a name that no other writing of
--      it has
--
-- Returns 1 where it did.
if redis.call('HGET', index, ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', index, ARGV[1])
