-- Tries every command that is used, in scripts and beside them, on a key that nobody else uses.
--
-- KEYS 1 a key of the namespace  ARGV 1 a channel of the namespace
--
-- Returns the names of the commands that the user may not use, or the server does not have. What a command says of the key's
-- type is of no interest. Changes nothing: the key is removed again.
local key, channel = KEYS[1], ARGV[1]
local tries = {
  { 'TIME' }, { 'DEL', key }, { 'EXISTS', key }, { 'GET', key }, { 'SET', key, 1 },
  { 'PEXPIRE', key, 1000 }, { 'PTTL', key }, { 'HSET', key, 'a', 1 }, { 'HSETNX', key, 'a', 1 },
  { 'HGET', key, 'a' }, { 'HMGET', key, 'a' }, { 'HDEL', key, 'a' }, { 'HLEN', key },
  { 'HINCRBY', key, 'a', 1 }, { 'HGETALL', key }, { 'HSCAN', key, 0 }, { 'RPUSH', key, 1 }, { 'LPUSH', key, 1 }, { 'LPOP', key, 1 },
  { 'LLEN', key }, { 'SADD', key, 1 }, { 'SREM', key, 1 }, { 'SPOP', key }, { 'SCARD', key },
  { 'SRANDMEMBER', key }, { 'SMISMEMBER', key, 1 }, { 'SSCAN', key, 0 },
  { 'SMEMBERS', key }, { 'ZADD', key, 1, 1 },
  { 'ZREM', key, 1 }, { 'ZCARD', key }, { 'ZSCORE', key, 1 }, { 'ZPOPMIN', key },
  { 'ZRANGE', key, 0, 0 }, { 'ZREMRANGEBYRANK', key, 0, 0 }, { 'PUBLISH', channel, '' },
}
local refused = {}
for _, try in ipairs(tries) do
  local answer = redis.pcall(unpack(try))
  local error = type(answer) == 'table' and answer.err
  if error and (string.find(error, 'permission') or string.find(error, 'NOPERM')
    or string.find(error, 'nknown Redis command') or string.find(error, 'nknown command')
    or string.find(error, 'ACL') or string.find(error, "The user executing the script can't")) then
    refused[#refused + 1] = try[1]
  end
end
redis.pcall('DEL', key)
return refused
