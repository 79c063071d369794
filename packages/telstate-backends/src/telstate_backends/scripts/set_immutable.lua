-- Set KEYS[1] to ARGV[1] unless it exists; reply nothing if that took effect.
local key, value = KEYS[1], ARGV[1]
local kind = redis.call('TYPE', key).ok
if kind == 'none' then
  redis.call('SET', key, value)
  redis.call('PUBLISH', 'update/' .. key, '\1' .. value)
  return false
elseif kind == 'string' then
  return {kind, key, redis.call('GET', key)}
end
return {kind, key}
