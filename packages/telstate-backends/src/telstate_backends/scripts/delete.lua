-- Delete KEYS and publish each that existed; reply how many did.
local deleted = 0
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    -- pcall: a user whose ACL does not know this channel, as katsdptelstate's need not, may delete all the same.
    redis.pcall('PUBLISH', 'delete/' .. key, '')
    -- UNLINK rather than DEL: a long sensor is freed in the background.
    deleted = deleted + redis.call('UNLINK', key)
  end
end
return deleted
