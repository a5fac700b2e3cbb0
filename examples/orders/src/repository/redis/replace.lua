-- Replaces an order that has the expected version still: 1, else 0.
-- KEYS: the order. ARGV: the expected version, the order.
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'order', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
