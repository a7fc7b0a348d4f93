-- Write memories into one partition; the higher stamp wins.
-- KEYS: vectors, records, tombstones, times
-- ARGV: M, EF, then four for each memory: id, record (its stamp, then its JSON), vector, created_at
-- VADD comes first: what can be refused is refused before anything else has changed.
-- Answers for each memory: 1 written, 0 a newer stamp is there.
local vectors, records, tombstones, times = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local answers = {}

local function put(id, record, vector, created)
  local stamp = string.sub(record, 1, 20)
  local stored, tombstone = redis.call('HGET', records, id), redis.call('HGET', tombstones, id)
  if stored and stamp < string.sub(stored, 1, 20) or tombstone and stamp < tombstone then
    return 0
  end
  redis.call('VADD', vectors, 'FP32', vector, id, 'NOQUANT', 'EF', ARGV[2], 'M', ARGV[1])
  redis.call('HSET', records, id, record)
  redis.call('ZADD', times, created, id)
  if tombstone then redis.call('HDEL', tombstones, id) end
  return 1
end

for at = 3, #ARGV, 4 do
  answers[#answers + 1] = put(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
end
return answers
