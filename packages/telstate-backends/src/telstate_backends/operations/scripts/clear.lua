-- Delete every key of the database, in the background, and publish that. Replies nil.
redis.call('FLUSHDB', 'ASYNC')
-- pcall: a user without permission to publish here (katsdptelstate does not need it) may still clear.
redis.pcall('PUBLISH', 'clear', '')
return false
