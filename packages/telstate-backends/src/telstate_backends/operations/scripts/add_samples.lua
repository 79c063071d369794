-- Add samples ARGV, no two of them equal, to KEYS[1]. Replies nil unless the key is of another type.
local key = KEYS[1]
local kind = redis.call('TYPE', key).ok
if kind ~= 'none' and kind ~= 'zset' then
  return {kind, key}
end
local channel = 'update/' .. key
-- Lua cannot pass more than about 8,000 arguments at once, and each sample has a score.
for first = 1, #ARGV, 3000 do
  local last = math.min(first + 2999, #ARGV)
  local present = redis.call('ZMSCORE', key, unpack(ARGV, first, last))
  local scored = {}
  for i = first, last do
    if not present[i - first + 1] then
      scored[#scored + 1] = '0'
      scored[#scored + 1] = ARGV[i]
    end
  end
  if #scored > 0 then
    redis.call('ZADD', key, unpack(scored))
    for i = 2, #scored, 2 do
      local published = redis.pcall('PUBLISH', channel, '\2' .. scored[i])
      if type(published) == 'table' then -- a user who may not publish writes nothing
        for j = 2, #scored, 2 do
          redis.call('ZREM', key, scored[j])
        end
        return published
      end
    end
  end
end
return false
