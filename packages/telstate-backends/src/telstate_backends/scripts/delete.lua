-- Delete KEYS and publish each that existed; reply how many did.
local deleted = 0
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    -- Published first: who may not publish deletes nothing behind the backs of those who listen.
    redis.call('PUBLISH', 'delete/' .. key, '')
    -- UNLINK rather than DEL: a long sensor is freed in the background.
    deleted = deleted + redis.call('UNLINK', key)
  end
end
return deleted
