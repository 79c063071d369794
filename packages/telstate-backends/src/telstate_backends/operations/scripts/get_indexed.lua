-- The first of KEYS that exists: its type, its name, and the value of field ARGV[1] if there is one.
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then
    local value = redis.call('HGET', key, ARGV[1])
    if value then
      return {kind, key, value}
    end
    return {kind, key}
  elseif kind ~= 'none' then
    return {kind, key}
  end
end
return false
