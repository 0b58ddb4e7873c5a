-- Wakes workers for `to_wake` jobs that came to wait. A worker that found nothing more to claim
-- stands in the set `idle` under its process's name; as many names are taken out as there are
-- jobs, and each is told on its own channel. A name whose process is gone has no receiver, and the
-- next is taken. While the queue is paused, nobody is woken.
for _ = 1, 100 do
  if to_wake <= 0 then break end
  local who = redis.call('SPOP', idle)
  if not who then break end
  if redis.call('HGET', meta, 'paused') then
    redis.call('SADD', idle, who)
    break
  end
  if redis.call('PUBLISH', idle .. ':' .. who, 'w') > 0 then to_wake = to_wake - 1 end
end
