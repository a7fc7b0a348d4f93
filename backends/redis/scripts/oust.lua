-- Take out of one partition what bears a stamp that the directory does not know.
-- KEYS: records, tombstones    ARGV, two for each memory: id, that stamp
for at = 1, #ARGV, 2 do
  local id, stamp = ARGV[at], ARGV[at + 1]
  if string.sub(redis.call('HGET', KEYS[1], id) or '', 1, 20) == stamp then
    redis.call('HDEL', KEYS[1], id)
  end
  if redis.call('HGET', KEYS[2], id) == stamp then redis.call('HDEL', KEYS[2], id) end
end
return #ARGV / 2
