-- Write memories into one partition; the higher stamp wins, an equal one is written again.
-- KEYS: vectors, records, tombstones, times
-- ARGV: M, EF, bytes of a vector, then four for each memory (each id once): id, its stamp and JSON,
-- vector, created_at
-- VADD comes first: what can be refused is refused before anything else has changed.
-- Answers for each memory: "" written, else the newer stamp that is there.
local size = tonumber(ARGV[3])
local PART = 32
local ids, answers = {}, {}
local fields, members, revived = {}, {}, {}

local function plain(value)
  return type(value) == 'table' and value.ok or value
end

-- The M of the graph, which is that of a set's first VADD. Vectors of another kind are none of ours.
local function graph_of(asked)
  local facts, known = redis.call('VINFO', vectors), {}
  if not facts then return asked end
  for at = 1, #facts, 2 do
    known[plain(facts[at])] = plain(facts[at + 1])
  end
  if known['vector-dim'] * 4 == size and known['quant-type'] == 'f32' then return known['hnsw-m'] end
  redis.call('DEL', vectors)
  return asked
end

-- Redis keeps a vector as its direction and its length, so what was given comes back up to rounding.
local function near(given, unit, length)
  for from = 1, size, 4 * PART do
    local count = math.min(PART, (size - from + 1) / 4)
    local form = '<' .. string.rep('f', count)
    local ours, theirs = {struct.unpack(form, given, from)}, {struct.unpack(form, unit, from)}
    for at = 1, count do
      if not (math.abs(ours[at] - theirs[at] * length) <= 1e-6 * length) then return false end
    end
  end
  return true
end

local function holds(id, vector)
  local raw = redis.call('VEMB', vectors, id, 'RAW')
  return raw and near(vector, raw[2], tonumber(raw[3]))
end

local graph = graph_of(ARGV[1])

local function put(at, stored, tombstone)
  local id, record, vector = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local stamp = string.sub(record, 1, 20)
  local newest = above(stamp, stored, tombstone)
  if newest then return newest end
  -- To add an element again is as much work as a new one, and Redis 8.10 has crashed in it.
  if not (stored and holds(id, vector)) then
    redis.call('VADD', vectors, 'FP32', vector, id, 'NOQUANT', 'EF', ARGV[2], 'M', graph)
  end
  fields[#fields + 1] = id
  fields[#fields + 1] = record
  members[#members + 1] = ARGV[at + 3]
  members[#members + 1] = id
  if tombstone then revived[#revived + 1] = id end
  return ''
end

for at = 4, #ARGV, 4 do
  ids[#ids + 1] = ARGV[at]
end
local stored = redis.call('HMGET', records, unpack(ids))
local buried = redis.call('HMGET', tombstones, unpack(ids))
for number = 1, #ids do
  answers[number] = put(4 * number, stored[number], buried[number])
end
if #fields > 0 then
  redis.call('HSET', records, unpack(fields))
  redis.call('ZADD', times, unpack(members))
  if #revived > 0 then redis.call('HDEL', tombstones, unpack(revived)) end
end
return answers
