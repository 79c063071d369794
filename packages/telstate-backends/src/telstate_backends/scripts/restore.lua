-- Write all of KEYS[1] from the DUMP payload ARGV[1], and publish its value, latest sample, or fields.
local key = KEYS[1]
redis.call('RESTORE', key, 0, ARGV[1], 'REPLACE')
local kind, channel = redis.call('TYPE', key).ok, 'update/' .. key
if kind == 'string' then
  redis.call('PUBLISH', channel, '\1' .. redis.call('GET', key))
elseif kind == 'zset' then
  redis.call('PUBLISH', channel, '\2' .. redis.call('ZRANGE', key, -1, -1)[1])
elseif kind == 'hash' then
  local items = redis.call('HGETALL', key)
  for i = 1, #items, 2 do
    redis.call('PUBLISH', channel, '\3' .. #items[i] .. '\n' .. items[i] .. items[i + 1])
  end
end
return false
