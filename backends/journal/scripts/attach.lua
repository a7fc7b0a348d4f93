-- Moves a driver from 'away' to 'syncing', or from 'syncing' to serving again. ARGV: name (a driver, or 'src|driver' for one
-- source alone), from, to ('': serving). Returns 1 if it was in the state 'from'.
local name, from, to = ARGV[1], ARGV[2], ARGV[3]
local src, driver = string.match(name, '^(.-)|(.*)$')
local key, field = P .. 'detached', name
if src then
  key, field = P .. 'members:' .. src, driver
end
if (redis.call('HGET', key, field) or '') ~= from then
  return 0
end
if to ~= '' then
  redis.call('HSET', key, field, to)
  redis.call('SREM', P .. 'emptied', name)
  return 1
end
if src then
  redis.call('HSET', key, field, 'whole')
else
  redis.call('HDEL', key, field)
end
redis.call('DEL', P .. 'skipped:' .. name)
return 1
