-- The contents of KEYS[1]: its type, its name, and its value, its fields, or a page of its samples from rank
-- ARGV[1] on: the rank of the next page (-1 on the last page), the number of all samples, those of up to ARGV[2]
-- bytes, and the time and SHA-1 of each longer one. A page ends after ARGV[3] samples or ARGV[4] bytes.
local key, rank = KEYS[1], tonumber(ARGV[1])
local kind = redis.call('TYPE', key).ok
if kind == 'none' then
  return false
elseif kind == 'string' then
  return {kind, key, redis.call('GET', key)}
elseif kind == 'hash' then
  return {kind, key, redis.call('HGETALL', key)}
elseif kind ~= 'zset' then
  return {kind, key}
end
-- fakeredis does not have this function; then all samples are returned whole.
local digest, longest = redis.sha1hex, tonumber(ARGV[2])
local short, long = {}, {}
local count, size, step = 0, 0, 1
repeat
  local samples = redis.call('ZRANGE', key, rank, rank + step - 1)
  for _, sample in ipairs(samples) do
    size = size + #sample
    if digest and #sample > longest then
      long[#long + 1] = string.sub(sample, 1, 8)
      long[#long + 1] = digest(sample)
    else
      short[#short + 1] = sample
    end
  end
  count, rank = count + #samples, rank + #samples
  if #samples < step then
    rank = -1
  end
  -- Few at first: they may be long.
  step = math.min(2 * step, 512)
until rank < 0 or count >= tonumber(ARGV[3]) or size >= tonumber(ARGV[4])
return {kind, key, rank, redis.call('ZCARD', key), short, long}
