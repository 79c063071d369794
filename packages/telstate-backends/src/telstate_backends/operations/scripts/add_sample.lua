-- Add sample ARGV[1] to KEYS[1]. Replies nil unless the key is of another type.
local key, sample = KEYS[1], ARGV[1]
local kind = redis.call('TYPE', key).ok
if kind ~= 'none' and kind ~= 'zset' then
  return {kind, key}
end
if redis.call('ZADD', key, 0, sample) == 1 then
  local published = redis.pcall('PUBLISH', 'update/' .. key, '\2' .. sample)
  if type(published) == 'table' then -- a user who may not publish writes nothing
    redis.call('ZREM', key, sample)
    return published
  end
end
return false
