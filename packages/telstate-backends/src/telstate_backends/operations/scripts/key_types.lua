-- A page of the keys that match ARGV[2], from cursor ARGV[1] on, each followed by its type.
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local found = {}
for _, key in ipairs(page[2]) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('TYPE', key).ok
end
return {page[1], found}
