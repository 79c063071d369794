-- The first of KEYS that exists: its type, its name, and its value, latest sample, or fields.
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'string' then
    return {kind, key, redis.call('GET', key)}
  elseif kind == 'zset' then
    return {kind, key, redis.call('ZRANGE', key, -1, -1)[1]}
  elseif kind == 'hash' then
    return {kind, key, redis.call('HGETALL', key)}
  elseif kind ~= 'none' then
    return {kind, key}
  end
end
return false
