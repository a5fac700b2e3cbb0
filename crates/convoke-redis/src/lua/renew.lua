-- Prolongs the lease of the latest holder: 1, or 0 when it lost the record.
-- KEYS: the record
-- ARGV: owner, fence, lease in ms, ms for which an abandoned record is kept
local found = redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence')
if found[1] ~= 'running' or found[2] ~= ARGV[1] or found[3] ~= ARGV[2] then
  return 0
end
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'until', string.format('%d', ends))
redis.call('PEXPIRE', KEYS[1], string.format('%d', tonumber(ARGV[3]) + tonumber(ARGV[4])))
return 1
