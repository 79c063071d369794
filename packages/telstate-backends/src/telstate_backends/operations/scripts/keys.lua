-- The keys that match ARGV[1], or nothing if the database has more than ARGV[2] keys or the user may not list them so.
local count = redis.pcall('DBSIZE')
if type(count) ~= 'number' or count > tonumber(ARGV[2]) then
  return false
end
local found = redis.pcall('KEYS', ARGV[1])
return not found.err and found
