-- Takes note that a process of an application is there no more.
--
-- ARGV 1 application  2 process
--
-- Returns 1 where it was. Resent, it is 0. A release without a process is forgotten by declare.lua.
return redis.call('HDEL', releases, 'p ' .. ARGV[1] .. ' ' .. ARGV[2])
