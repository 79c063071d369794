-- Add samples ARGV to KEYS[1]; reply nothing unless the key is of another type.
local key = KEYS[1]
local kind = redis.call('TYPE', key).ok
if kind ~= 'none' and kind ~= 'zset' then
  return {kind, key}
end
local channel = 'update/' .. key
for _, sample in ipairs(ARGV) do
  if redis.call('ZADD', key, 0, sample) == 1 then
    redis.call('PUBLISH', channel, '\2' .. sample)
  end
end
return false
