-- Gives the record back, so that the next claim may run at once. Nothing happens when the holder is not the latest.
-- KEYS: the record
-- ARGV: owner, fence, ms for which an abandoned record is kept, wake-up channel, what to say on it
local found = redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence', 'waited')
if found[1] ~= 'running' or found[2] ~= ARGV[1] or found[3] ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], 'owner', 'until', 'waited')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if found[4] then
  redis.pcall('PUBLISH', ARGV[4], ARGV[5])
end
return 1
