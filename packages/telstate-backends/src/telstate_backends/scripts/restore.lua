-- Publish what KEYS[1] holds: its value, latest sample, or fields. If there is an ARGV[1], that is a DUMP
-- payload, from which it is written first.
local key = KEYS[1]
if ARGV[1] then
  redis.call('RESTORE', key, 0, ARGV[1], 'REPLACE')
end
local kind, channel = redis.call('TYPE', key).ok, 'update/' .. key

-- Whether nobody can hear what is published here; what the user may not ask counts as no. Subscribers of
-- replicas and of other nodes of a cluster are not known.
local function unheard()
  local patterns, listeners = redis.pcall('PUBSUB', 'NUMPAT'), redis.pcall('PUBSUB', 'NUMSUB', channel)
  if patterns ~= 0 or listeners[2] ~= 0 then
    return false
  end
  local replicas, cluster = redis.pcall('INFO', 'replication'), redis.pcall('INFO', 'cluster')
  return type(replicas) == 'string' and string.find(replicas, 'connected_slaves:0', 1, true)
    and type(cluster) == 'string' and string.find(cluster, 'cluster_enabled:0', 1, true)
end

if kind == 'string' then
  redis.call('PUBLISH', channel, '\1' .. redis.call('GET', key))
elseif kind == 'zset' then
  redis.call('PUBLISH', channel, '\2' .. redis.call('ZRANGE', key, -1, -1)[1])
elseif kind == 'hash' and not (redis.call('HLEN', key) > 20 and unheard()) then
  local items = redis.call('HGETALL', key)
  for i = 1, #items, 2 do
    redis.call('PUBLISH', channel, '\3' .. #items[i] .. '\n' .. items[i] .. items[i + 1])
  end
end
return false
