-- Reads all that KEYS[1] holds: its type, its name, and its value, samples, or fields.
local key = KEYS[1]
local kind = redis.call('TYPE', key).ok
if kind == 'none' then
  return false
elseif kind == 'string' then
  return {kind, key, redis.call('GET', key)}
elseif kind == 'hash' then
  return {kind, key, redis.call('HGETALL', key)}
elseif kind == 'zset' then
  if redis.call('ZCOUNT', key, 0, 0) ~= redis.call('ZCARD', key) then
    return {'sorted set with scores that are not 0', key}
  end
  return {kind, key, redis.call('ZRANGE', key, 0, -1)}
end
return {kind, key}
