-- Replies for each of KEYS 1 if it exists, otherwise 0.
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = redis.call('EXISTS', key)
end
return found
