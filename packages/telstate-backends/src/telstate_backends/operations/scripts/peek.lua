-- The beginning of KEYS[1], ARGV[1] bytes of it: its type, its name, how many samples or fields it has, the
-- length of the value, the beginning of the value, and the times of the first and last sample, or a field.
local LONG = 8388608
local key, limit = KEYS[1], tonumber(ARGV[1])
local kind = redis.call('TYPE', key).ok
if kind == 'none' then
  return false
elseif kind == 'string' then
  local head = limit > 0 and redis.call('GETRANGE', key, 0, limit - 1) or ''
  return {kind, key, 1, redis.call('STRLEN', key), head}
elseif kind == 'hash' then
  local count, field = redis.call('HLEN', key), nil
  if count <= 128 then
    field = redis.call('HKEYS', key)[1] -- always the same one
  else
    field = redis.call('HRANDFIELD', key)
  end
  local size, head = redis.call('HSTRLEN', key, field), ''
  if size <= LONG then
    head = string.sub(redis.call('HGET', key, field), 1, limit)
  end
  return {kind, key, count, size, head, string.sub(field, 1, limit)}
elseif kind == 'zset' then
  local count = redis.call('ZCARD', key)
  -- Not supported or permitted everywhere; without it, a long sample is read whole.
  local memory = redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '5')
  if type(memory) == 'number' and memory / count > LONG then
    return {kind, key, count, math.floor(memory / count), ''}
  end
  local first = redis.call('ZRANGE', key, 0, 0)[1]
  local last = redis.call('ZRANGE', key, -1, -1)[1]
  local size = math.max(0, #last - 8)
  if #first > LONG or #last > LONG then
    return {kind, key, count, size, ''}
  end
  local head = string.sub(last, 9, 8 + limit)
  return {kind, key, count, size, head, string.sub(first, 1, 8), string.sub(last, 1, 8)}
end
return {kind, key}
