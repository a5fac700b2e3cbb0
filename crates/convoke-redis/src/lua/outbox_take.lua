-- Takes a slot of the outbox for a relay, when it is free or the relay's own, and answers how it stands.
-- KEYS: the rows, the lease, the rows that were put aside
-- ARGV: relay, lease in ms, most rows to answer
-- Answers { rows waiting, age of the oldest in ms or -1, rows put aside, fence or 0, then place, id and bytes of each }
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local waiting = redis.call('XLEN', KEYS[1])
local answer = { waiting, -1, redis.call('XLEN', KEYS[3]), 0 }
if waiting == 0 then
  return answer
end
local held = redis.call('HMGET', KEYS[2], 'relay', 'until')
local free = held[1] == ARGV[1] or tonumber(held[2] or 0) <= now
local rows = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', free and ARGV[3] or 1)
answer[2] = math.max(0, now - tonumber(string.match(rows[1][1], '^%d+')))
if not free then
  return answer
end
answer[4] = redis.call('HINCRBY', KEYS[2], 'fence', 1)
redis.call('HSET', KEYS[2], 'relay', ARGV[1], 'until', string.format('%d', now + tonumber(ARGV[2])))
for _, row in ipairs(rows) do
  answer[#answer + 1] = row[1]
  answer[#answer + 1] = row[2][2]
  answer[#answer + 1] = row[2][4]
end
return answer
