-- Claims a record, or tells how it stands.
-- KEYS: the record, the fence counter of its partition
-- ARGV: owner, message id, fingerprint, lease in ms, ms for which an abandoned record is kept
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = now + tonumber(ARGV[4])
local found = redis.call('HMGET', KEYS[1],
  'state', 'fingerprint', 'answer', 'owner', 'fence', 'message', 'attempt', 'until')
local state, fingerprint, answer, owner = found[1], found[2], found[3], found[4]
local message, attempt = found[6] or ARGV[2], tonumber(found[7] or 0)
local held_until = tonumber(found[8] or 0)

local function keep()
  redis.call('PEXPIRE', KEYS[1], string.format('%d', tonumber(ARGV[4]) + tonumber(ARGV[5])))
end

if state and fingerprint ~= ARGV[3] then
  return { 'mismatch' }
end
if state and state ~= 'running' then
  return { state, answer }
end
if state and owner == ARGV[1] then
  -- The answer to this owner's first call was lost. The lease counts from what it can see.
  if ends > held_until then
    redis.call('HSET', KEYS[1], 'until', string.format('%d', ends))
    keep()
  end
  return { 'owned', tonumber(found[5]), message, attempt }
end
if held_until > now then
  return { 'busy', held_until - now }
end

local fence = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'state', 'running', 'fingerprint', ARGV[3], 'owner', ARGV[1],
  'fence', string.format('%d', fence), 'message', message,
  'attempt', string.format('%d', attempt + 1), 'until', string.format('%d', ends))
keep()
return { 'owned', fence, message, attempt + 1 }
