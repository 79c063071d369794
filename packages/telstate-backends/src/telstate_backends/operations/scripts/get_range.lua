-- The first of KEYS that exists: its type, its name, and its samples from ARGV[1] to ARGV[2]. If
-- ARGV[3] is not empty, the last sample below it comes first, unless it is after ARGV[2].
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'zset' then
    local first = ARGV[1]
    if ARGV[3] ~= '' then
      local previous = redis.call('ZREVRANGEBYLEX', key, ARGV[3], '-', 'LIMIT', 0, 1)[1]
      if previous then
        first = '[' .. previous
      end
    end
    return {kind, key, redis.call('ZRANGEBYLEX', key, first, ARGV[2])}
  elseif kind ~= 'none' then
    return {kind, key}
  end
end
return false
