-- Delete every key of the database, in the background, and publish that; reply nothing.
redis.call('FLUSHDB', 'ASYNC')
-- pcall: a user whose ACL does not know this channel, as katsdptelstate's need not, may clear all the same.
redis.pcall('PUBLISH', 'clear', '')
return false
