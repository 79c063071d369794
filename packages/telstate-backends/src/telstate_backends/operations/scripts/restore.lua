-- Write KEYS[1] from a DUMP payload, ARGV[1], and publish its value, samples, or fields; if nobody listens,
-- publish only the first. If the payload is empty, the key has just been restored to expire in ARGV[2]
-- milliseconds, which this script revokes; one that does not expire then was refused, so it has not changed.
local key = KEYS[1]
if ARGV[1] ~= '' then
  redis.call('RESTORE', key, 0, ARGV[1], 'REPLACE')
elseif redis.call('PTTL', key) < ARGV[2] / 2 then
  return false
else
  redis.call('PERSIST', key)
end
local kind, channel = redis.call('TYPE', key).ok, 'update/' .. key

if kind == 'string' then
  redis.call('PUBLISH', channel, '\1' .. redis.call('GET', key))
elseif kind == 'zset' then
  local first = redis.call('ZRANGE', key, 0, 0)[1]
  local received = redis.call('PUBLISH', channel, '\2' .. first)
  local count, rank, step = redis.call('ZCARD', key), 1, 1
  if not has_listeners(received, count, #first) then
    return false
  end
  while rank < count do
    local size = 0
    for _, sample in ipairs(redis.call('ZRANGE', key, rank, rank + step - 1)) do
      redis.call('PUBLISH', channel, '\2' .. sample)
      size = size + #sample
    end
    rank = rank + step
    -- Fewer at a time if they are long.
    step = size < 262144 and math.min(2 * step, 512) or 1
  end
elseif kind == 'hash' then
  local some, first = redis.call('HSCAN', key, '0', 'COUNT', 1)[2], nil
  if some[1] then
    first = some[1]
    local received = redis.call('PUBLISH', channel, '\3' .. #first .. '\n' .. first .. some[2])
    if not has_listeners(received, redis.call('HLEN', key), #some[2]) then
      return false
    end
  end
  local items = redis.call('HGETALL', key)
  for i = 1, #items, 2 do
    if items[i] ~= first then
      redis.call('PUBLISH', channel, '\3' .. #items[i] .. '\n' .. items[i] .. items[i + 1])
    end
  end
end
return false
