-- Leave tombstones in one partition, where nothing newer is; a delete, or the old side of a move.
-- KEYS: vectors, records, tombstones, times    ARGV, two for each memory: id, stamp
local vectors, records, tombstones, times = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function drop(id, stamp)
  local stored, tombstone = redis.call('HGET', records, id), redis.call('HGET', tombstones, id)
  if stored and stamp < string.sub(stored, 1, 20) or tombstone and stamp < tombstone then
    return
  end
  redis.call('HSET', tombstones, id, stamp)
  if stored then
    redis.call('VREM', vectors, id)
    redis.call('HDEL', records, id)
    redis.call('ZREM', times, id)
  end
end

for at = 1, #ARGV, 2 do
  drop(ARGV[at], ARGV[at + 1])
end
return #ARGV / 2
