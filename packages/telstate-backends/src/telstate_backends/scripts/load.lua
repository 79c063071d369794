-- Write all of KEYS[1]. ARGV[1]: 1 to delete what is there first. ARGV[2]: the type. The rest: the
-- value, or scores and samples, or fields and values.
local key, kind = KEYS[1], ARGV[2]
if ARGV[1] == '1' then
  redis.call('UNLINK', key)
else
  local present = redis.call('TYPE', key).ok
  if present ~= 'none' and present ~= kind then
    return {present, key}
  end
end
local channel = 'update/' .. key
if kind == 'string' then
  redis.call('SET', key, ARGV[3])
  redis.call('PUBLISH', channel, '\1' .. ARGV[3])
  return false
end
-- Lua cannot pass on more than some 8,000 arguments at once.
for first = 3, #ARGV, 6000 do
  local last = math.min(first + 5999, #ARGV)
  if kind == 'zset' then
    redis.call('ZADD', key, unpack(ARGV, first, last))
  else
    redis.call('HSET', key, unpack(ARGV, first, last))
  end
end
if kind == 'zset' then
  redis.call('PUBLISH', channel, '\2' .. ARGV[#ARGV])
else
  for i = 3, #ARGV, 2 do
    local field = ARGV[i]
    redis.call('PUBLISH', channel, '\3' .. #field .. '\n' .. field .. ARGV[i + 1])
  end
end
return false
