-- Set KEYS[1] to ARGV[1] unless it exists. Replies nil if that took effect.
local key, value = KEYS[1], ARGV[1]
local kind = redis.call('TYPE', key).ok
if kind == 'none' then
  redis.call('SET', key, value)
  local published = redis.pcall('PUBLISH', 'update/' .. key, '\1' .. value)
  if type(published) == 'table' then -- a user who may not publish writes nothing
    redis.call('DEL', key)
    return published
  end
  return false
elseif kind == 'string' then
  return {kind, key, redis.call('GET', key)}
end
return {kind, key}
