-- The beginning of load.lua and restore.lua: who hears what they publish.

-- Up to so many updates cost less than to ask.
local FEW = 8

-- Whether somebody may hear what is published on a channel, where so many have received the first update.
-- Subscribers of replicas and of other nodes of a cluster are not counted, and may be there unless the
-- server says that there are none.
local function heard(received)
  if received > 0 then
    return true
  end
  local replicas, cluster = redis.pcall('INFO', 'replication'), redis.pcall('INFO', 'cluster')
  return not (type(replicas) == 'string' and string.find(replicas, 'connected_slaves:0', 1, true)
    and type(cluster) == 'string' and string.find(cluster, 'cluster_enabled:0', 1, true))
end
