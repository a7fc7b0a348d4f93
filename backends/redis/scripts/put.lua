-- Write memories into one partition; the higher stamp wins.
-- KEYS: vectors, records, tombstones, times
-- ARGV: M, EF, then four for each memory (each id once): id, its stamp and JSON, vector, created_at
-- VADD comes first: what can be refused is refused before anything else has changed.
-- Answers for each memory: 1 written, 0 a newer stamp is there.
local vectors, records, tombstones, times = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ids, answers = {}, {}
local fields, members, revived = {}, {}, {}

local function put(at, stored, tombstone)
  local id, record = ARGV[at], ARGV[at + 1]
  local stamp = string.sub(record, 1, 20)
  if stored and stamp < string.sub(stored, 1, 20) or tombstone and stamp < tombstone then
    return 0
  end
  redis.call('VADD', vectors, 'FP32', ARGV[at + 2], id, 'NOQUANT', 'EF', ARGV[2], 'M', ARGV[1])
  fields[#fields + 1] = id
  fields[#fields + 1] = record
  members[#members + 1] = ARGV[at + 3]
  members[#members + 1] = id
  if tombstone then revived[#revived + 1] = id end
  return 1
end

for at = 3, #ARGV, 4 do
  ids[#ids + 1] = ARGV[at]
end
local stored = redis.call('HMGET', records, unpack(ids))
local buried = redis.call('HMGET', tombstones, unpack(ids))
for number = 1, #ids do
  answers[number] = put(4 * number - 1, stored[number], buried[number])
end
if #fields > 0 then
  redis.call('HSET', records, unpack(fields))
  redis.call('ZADD', times, unpack(members))
  if #revived > 0 then redis.call('HDEL', tombstones, unpack(revived)) end
end
return answers
