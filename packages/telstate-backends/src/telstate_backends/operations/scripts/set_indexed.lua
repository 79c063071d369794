-- Set field ARGV[1] of KEYS[1] to ARGV[2] unless it exists. Replies nil if that took effect.
local key, field, value = KEYS[1], ARGV[1], ARGV[2]
local kind = redis.call('TYPE', key).ok
if kind ~= 'none' and kind ~= 'hash' then
  return {kind, key}
end
if redis.call('HSETNX', key, field, value) == 1 then
  local published = redis.pcall('PUBLISH', 'update/' .. key, '\3' .. #field .. '\n' .. field .. value)
  if type(published) == 'table' then -- a user who may not publish writes nothing
    redis.call('HDEL', key, field)
    return published
  end
  return false
end
return {kind, key, redis.call('HGET', key, field)}
