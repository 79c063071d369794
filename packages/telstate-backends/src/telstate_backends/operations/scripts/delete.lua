-- Delete KEYS and publish each that existed; reply how many did.
local deleted = 0
for _, key in ipairs(KEYS) do
  -- UNLINK rather than DEL: a long sensor is freed in the background.
  if redis.call('UNLINK', key) == 1 then
    deleted = deleted + 1
    -- pcall: a user whose ACL does not know this channel, as katsdptelstate's need not, may delete all the same.
    redis.pcall('PUBLISH', 'delete/' .. key, '')
  end
end
return deleted
