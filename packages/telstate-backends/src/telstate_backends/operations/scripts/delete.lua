-- Delete KEYS and publish each that existed. Replies how many did.
local deleted = 0
for _, key in ipairs(KEYS) do
  -- UNLINK, not DEL: a long sensor is freed in the background.
  if redis.call('UNLINK', key) == 1 then
    deleted = deleted + 1
    -- pcall: a user without permission to publish here (katsdptelstate does not need it) may still delete.
    redis.pcall('PUBLISH', 'delete/' .. key, '')
  end
end
return deleted
