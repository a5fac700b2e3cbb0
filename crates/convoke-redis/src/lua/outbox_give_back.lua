-- Ends a relay's lease of a slot, when it is the latest.
-- KEYS: the lease
-- ARGV: relay, fence
local held = redis.call('HMGET', KEYS[1], 'relay', 'fence')
if held[1] == ARGV[1] and held[2] == ARGV[2] then
  redis.call('HSET', KEYS[1], 'until', '0')
end
return 0
