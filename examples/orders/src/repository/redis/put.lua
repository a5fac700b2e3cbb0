-- Stores an order unless there is one, and answers the one that is stored.
-- KEYS: the order, the index. ARGV: the order's id, the order.
local stored = redis.call('HGET', KEYS[1], 'order')
if stored then
  return stored
end
redis.call('HSET', KEYS[1], 'order', ARGV[2], 'version', 1)
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return ARGV[2]
