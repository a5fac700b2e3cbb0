-- Replaces a mark at its version: the new version, or -1 when the version is another.
-- KEYS: the mark
-- ARGV: the version it must have ('' when there must be none), record, id of this call, retention in ms
local found = redis.call('HMGET', KEYS[1], 'version', 'call')
if found[2] == ARGV[3] then
  return tonumber(found[1]) -- The answer to the same call was lost.
end
if (found[1] or '') ~= ARGV[1] then
  return -1
end
local version = tonumber(found[1] or 0) + 1
redis.call('HSET', KEYS[1], 'version', string.format('%d', version), 'record', ARGV[2], 'call', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return version
