-- Remove tombstones from one partition for good, those of a higher stamp excepted.
-- KEYS: tombstones    ARGV, two for each memory: id, stamp
for at = 1, #ARGV, 2 do
  local tombstone = redis.call('HGET', KEYS[1], ARGV[at])
  if tombstone and tombstone <= ARGV[at + 1] then redis.call('HDEL', KEYS[1], ARGV[at]) end
end
return #ARGV / 2
