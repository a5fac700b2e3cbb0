-- Puts a row that was put aside back to those that wait: 1, or 0 when it is not there.
-- KEYS: the rows, the rows that were put aside
-- ARGV: place
local found = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1]
if not found then
  return 0
end
redis.call('XADD', KEYS[1], '*', 'id', found[2][2], 'row', found[2][4])
redis.call('XDEL', KEYS[2], ARGV[1])
return 1
