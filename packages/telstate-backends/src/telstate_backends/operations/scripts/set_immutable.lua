-- Set KEYS[1] to ARGV[1] unless it exists; reply nothing if that took effect.
local key, value = KEYS[1], ARGV[1]
local kind = redis.call('TYPE', key).ok
if kind == 'none' then
  redis.call('SET', key, value)
  local told = redis.pcall('PUBLISH', 'update/' .. key, '\1' .. value)
  if type(told) == 'table' then -- who may not publish writes nothing
    redis.call('DEL', key)
    return told
  end
  return false
elseif kind == 'string' then
  return {kind, key, redis.call('GET', key)}
end
return {kind, key}
