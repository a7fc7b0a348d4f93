-- Leave tombstones in one partition, where nothing newer is; a delete, or the old side of a move.
-- KEYS: vectors, records, tombstones, times    ARGV, two for each memory: id, stamp
-- Answers for each memory: "" dropped, else the newer stamp that is there.
local answers = {}

local function drop(id, stamp)
  local stored, tombstone = redis.call('HGET', records, id), redis.call('HGET', tombstones, id)
  local newest = above(stamp, stored, tombstone)
  if newest then return newest end
  redis.call('HSET', tombstones, id, stamp)
  redis.call('VREM', vectors, id)
  redis.call('HDEL', records, id)
  redis.call('ZREM', times, id)
  return ''
end

for at = 1, #ARGV, 2 do
  answers[#answers + 1] = drop(ARGV[at], ARGV[at + 1])
end
return answers
