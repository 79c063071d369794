-- Delete every key of the database, in the background, and publish that; reply nothing.
-- pcall: a user whose ACL does not know this channel, as katsdptelstate's need not, may clear all the same.
redis.pcall('PUBLISH', 'clear', '')
redis.call('FLUSHDB', 'ASYNC')
return false
