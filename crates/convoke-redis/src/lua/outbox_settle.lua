-- Removes rows that the broker has, puts aside those that it will never take, and answers what comes next.
-- KEYS: the rows, the lease, the rows that were put aside
-- ARGV: relay, fence, lease in ms, most rows to answer, number of rows, place and problem ('' for none) of each
-- Answers as outbox_take does.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', KEYS[2], 'relay', 'fence')
local mine = held[1] == ARGV[1] and held[2] == ARGV[2]
if mine then
  local gone = {}
  for row = 1, tonumber(ARGV[5]) do
    local place, problem = ARGV[4 + 2 * row], ARGV[5 + 2 * row]
    if problem ~= '' then
      local found = redis.call('XRANGE', KEYS[1], place, place)[1]
      if found then
        redis.call('XADD', KEYS[3], '*', 'id', found[2][2], 'row', found[2][4], 'problem', problem)
      end
    end
    gone[row] = place
  end
  if #gone > 0 then
    redis.call('XDEL', KEYS[1], unpack(gone))
  end
end
local waiting = redis.call('XLEN', KEYS[1])
local answer = { waiting, -1, redis.call('XLEN', KEYS[3]), 0 }
if waiting == 0 then
  if mine then
    redis.call('HSET', KEYS[2], 'until', '0')
  end
  return answer
end
local rows = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', mine and ARGV[4] or 1)
answer[2] = math.max(0, now - tonumber(string.match(rows[1][1], '^%d+')))
if not mine then
  return answer
end
answer[4] = tonumber(held[2])
redis.call('HSET', KEYS[2], 'until', string.format('%d', now + tonumber(ARGV[3])))
for _, row in ipairs(rows) do
  answer[#answer + 1] = row[1]
  answer[#answer + 1] = row[2][2]
  answer[#answer + 1] = row[2][4]
end
return answer
