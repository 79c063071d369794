-- The beginning of load.lua and restore.lua: who hears what they publish.

-- Up to so many updates of so many bytes cost less than to ask.
local FEW, SHORT = 8, 1000

-- Whether somebody may hear what is published, `count` updates, of which `received` heard the first, of
-- `size` bytes; or asking is not worth it. Subscribers of replicas and of other nodes of a cluster are not
-- counted, and may be there unless the server says that there are none.
local function heard(received, count, size)
  if received > 0 or count == 1 or (count <= FEW and size <= SHORT) then
    return true
  end
  local replicas, cluster = redis.pcall('INFO', 'replication'), redis.pcall('INFO', 'cluster')
  return not (type(replicas) == 'string' and string.find(replicas, 'connected_slaves:0', 1, true)
    and type(cluster) == 'string' and string.find(cluster, 'cluster_enabled:0', 1, true))
end
