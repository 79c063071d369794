-- Delete every key of the database, in the background, and publish that; reply nothing.
redis.call('PUBLISH', 'clear', '')
redis.call('FLUSHDB', 'ASYNC')
return false
