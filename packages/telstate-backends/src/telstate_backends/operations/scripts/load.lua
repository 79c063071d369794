-- Write all of KEYS[1] and publish it; if nobody listens, publish only its beginning. ARGV[1]: 1 to delete
-- the present contents first. ARGV[2]: the type. The rest: the value, or scores and samples, or fields and
-- values.
local key, kind = KEYS[1], ARGV[2]
local present = redis.call('TYPE', key).ok
if ARGV[1] == '1' then
  -- Not before the first write if there is nothing to delete: a server that is out of memory refuses only that.
  if present ~= 'none' then
    redis.call('UNLINK', key)
    present = 'none'
  end
elseif present ~= 'none' and present ~= kind then
  return {present, key}
end
local channel = 'update/' .. key
if kind == 'string' then
  redis.call('SET', key, ARGV[3])
  redis.call('PUBLISH', channel, '\1' .. ARGV[3])
  return false
end
local is_new = {}
-- Lua cannot pass more than about 8,000 arguments at once.
for first = 3, #ARGV, 6000 do
  local last = math.min(first + 5999, #ARGV)
  if kind == 'hash' then
    redis.call('HSET', key, unpack(ARGV, first, last))
  else
    if present ~= 'none' then
      local samples = {}
      for i = first + 1, last, 2 do
        samples[#samples + 1] = ARGV[i]
      end
      -- Existing samples are not published again, if the server is recent enough to know ZMSCORE.
      for i, score in ipairs(redis.pcall('ZMSCORE', key, unpack(samples))) do
        is_new[first + 2 * i - 2] = not score
      end
    end
    redis.call('ZADD', key, unpack(ARGV, first, last))
  end
end
local asked = false
for i = 3, #ARGV, 2 do
  if is_new[i] ~= false then
    local update = kind == 'zset' and '\2' or '\3' .. #ARGV[i] .. '\n' .. ARGV[i]
    local received = redis.call('PUBLISH', channel, update .. ARGV[i + 1])
    if not asked and not has_listeners(received, #ARGV / 2 - 1, #ARGV[i + 1]) then
      break
    end
    asked = true
  end
end
return false
