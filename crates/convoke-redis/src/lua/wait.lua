-- Notes that somebody waits, and answers for how many ms the record is still held: 0 when there is nothing to wait for.
-- KEYS: the record
-- A lease is there as long as the record is held: completing and releasing remove it.
local found = redis.call('HMGET', KEYS[1], 'until', 'waited')
local time = redis.call('TIME')
local remaining = tonumber(found[1] or 0) - (time[1] * 1000 + math.floor(time[2] / 1000))
if remaining <= 0 then
  return 0
end
if not found[2] then
  redis.call('HSET', KEYS[1], 'waited', '1')
end
return remaining
