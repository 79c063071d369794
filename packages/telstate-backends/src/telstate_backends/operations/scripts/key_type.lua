-- The first of KEYS that exists: its type and its name.
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' then
    return {kind, key}
  end
end
return false
