-- The first of KEYS that exists: its type, its name, and its samples from ARGV[1] to ARGV[2]. If
-- ARGV[3] is not empty, the last sample below it comes first.
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'zset' then
    local samples = redis.call('ZRANGEBYLEX', key, ARGV[1], ARGV[2])
    if ARGV[3] ~= '' then
      local previous = redis.call('ZREVRANGEBYLEX', key, ARGV[3], '-', 'LIMIT', 0, 1)[1]
      if previous then
        table.insert(samples, 1, previous)
      end
    end
    return {kind, key, samples}
  elseif kind ~= 'none' then
    return {kind, key}
  end
end
return false
