-- Stores how the latest holder's run ended: 1, or 0 when a newer claim exists.
-- KEYS: the record
-- ARGV: owner, fence, the state it ends in, answer, retention in ms, wake-up channel, what to say on it
local found = redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence', 'waited')
if found[2] ~= ARGV[1] or found[3] ~= ARGV[2] then
  return 0
end
if found[1] ~= 'running' then
  return 1 -- The answer to this owner's first call was lost.
end
redis.call('HSET', KEYS[1], 'state', ARGV[3], 'answer', ARGV[4])
redis.call('HDEL', KEYS[1], 'until', 'waited')
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if found[4] then
  -- A user who may not publish loses promptness, not the outcome: those who wait also look themselves.
  redis.pcall('PUBLISH', ARGV[6], ARGV[7])
end
return 1
