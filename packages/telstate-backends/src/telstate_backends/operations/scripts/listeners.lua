-- The beginning of load.lua and restore.lua: whether anybody listens to what they publish.

-- Publishing up to this many updates of this many bytes costs less than asking.
local FEW, SHORT = 8, 1000

-- Whether to publish all of `count` updates: if a client received the first (`received` says how many did),
-- of `size` bytes, or if asking is not worth it. Subscribers at replicas and at other nodes of a cluster are
-- not in that number, so there may be some unless the server says that it has neither.
local function has_listeners(received, count, size)
  if received > 0 or count == 1 or (count <= FEW and size <= SHORT) then
    return true
  end
  local replicas, cluster = redis.pcall('INFO', 'replication'), redis.pcall('INFO', 'cluster')
  return not (type(replicas) == 'string' and string.find(replicas, 'connected_slaves:0', 1, true)
    and type(cluster) == 'string' and string.find(cluster, 'cluster_enabled:0', 1, true))
end
