-- Records an outcome, marks or nothing, with rows for the outbox and an application's own writes: all or nothing.
-- KEYS: the record, the rows, the lease of their relay, then what conditions and writes are about
-- ARGV: the kind of the record and 7 values of it, relay, lease in ms, most rows, number of rows,
--   id and bytes of each, number of conditions, each as (number of its key, what it asks, two values),
--   number of writes, each as (number of its key, what it does, number of values, values)
-- Answers { 'stored', version, rows waiting, turn, fence, places.. }, or why nothing was recorded.
local at = 13
local function text()
  local value = ARGV[at]
  at = at + 1
  return value
end
local function number()
  return tonumber(text())
end

local kind, relay, lease, rows_max, count = ARGV[1], ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function turn(is_first)
  local held = redis.call('HMGET', KEYS[3], 'relay', 'until')
  if held[1] and tonumber(held[2] or 0) > now then
    return 'others', 0
  end
  if not is_first then
    return 'take', 0
  end
  local fence = redis.call('HINCRBY', KEYS[3], 'fence', 1)
  redis.call('HSET', KEYS[3], 'relay', relay, 'until', string.format('%d', now + lease))
  return 'yours', fence
end

local function repeated(version)
  local waiting = redis.call('XLEN', KEYS[2])
  return { 'stored', version, waiting, waiting > 0 and 'take' or 'others', 0 }
end

-- 1. May it be recorded, and was it before?
local found
if kind == 'claim' then -- owner, fence, the state it ends in, answer, retention in ms, wake-up channel, wake-up
  found = redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence', 'waited')
  if found[2] ~= ARGV[2] or found[3] ~= ARGV[3] then
    return { 'fenced' }
  end
  if found[1] ~= 'running' then
    return repeated(0)
  end
elseif kind == 'marks' then -- expected version or '', marks, call, retention in ms
  found = redis.call('HMGET', KEYS[1], 'version', 'call')
  if found[2] == ARGV[4] then
    return repeated(tonumber(found[1]))
  end
  if (found[1] or '') ~= ARGV[2] then
    return { 'conflict' }
  end
else -- alone: ms for which the call is remembered
  if redis.call('EXISTS', KEYS[1]) == 1 then
    return repeated(0)
  end
end
local before = redis.call('XLEN', KEYS[2])
if count > 0 and before + count > rows_max then
  return { 'full' }
end

-- 2. Do the conditions hold, and can every write be made? Nothing is undone in a script, so that is asked first.
local rows_at = at
at = at + 2 * count
local holds = {
  absent = function(key) return redis.call('EXISTS', key) == 0 end,
  present = function(key) return redis.call('EXISTS', key) == 1 end,
  value = function(key, value) return redis.call('GET', key) == value end,
  field = function(key, name, value) return redis.call('HGET', key, name) == value end,
}
local wanted = { value = 'string', field = 'hash' }
local function is_type(key, type)
  local is = redis.call('TYPE', key)['ok']
  return not type or is == 'none' or is == type
end
for _ = 1, number() do
  local key, asks, first, second = KEYS[number()], text(), text(), text()
  if not is_type(key, wanted[asks]) or not holds[asks](key, first, second) then
    return { 'overtaken' }
  end
end
local writes_at = at
local types = { HSET = 'hash', HDEL = 'hash', ZADD = 'zset', ZREM = 'zset', SADD = 'set', SREM = 'set' }
for _ = 1, number() do
  local key, command = KEYS[number()], text()
  at = at + 1 + tonumber(ARGV[at])
  if not is_type(key, types[command]) then
    return { 'refused', command, key }
  end
end

-- 3. Record.
local version = 0
if kind == 'claim' then
  redis.call('HSET', KEYS[1], 'state', ARGV[4], 'answer', ARGV[5])
  redis.call('HDEL', KEYS[1], 'until', 'waited')
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
elseif kind == 'marks' then
  version = tonumber(found[1] or 0) + 1
  redis.call('HSET', KEYS[1], 'version', string.format('%d', version), 'record', ARGV[3], 'call', ARGV[4])
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
else
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[2])
end
at = rows_at
local places = {}
for row = 1, count do
  places[row] = redis.call('XADD', KEYS[2], '*', 'id', text(), 'row', text())
end
at = writes_at
for _ = 1, number() do
  local key, command, args = KEYS[number()], text(), {}
  for value = 1, number() do
    args[value] = text()
  end
  redis.call(command, key, unpack(args))
end

local answer = { 'stored', version, before + count, 'others', 0 }
if count > 0 then
  answer[4], answer[5] = turn(before == 0)
  for _, place in ipairs(places) do
    answer[#answer + 1] = place
  end
end
if kind == 'claim' and found[4] then
  -- A user who may not publish loses promptness, not the outcome: those who wait also look themselves.
  redis.pcall('PUBLISH', ARGV[7], ARGV[8])
end
return answer
