-- Forget where tombstones lay, in one shard of the directory, and tombstones themselves.
-- KEYS: entries, order, expiry, live, buried, moved
-- ARGV, two for each: order's line, and the entry as it was seen ("" for none)
-- An entry that has changed stays as it is. A line that is no entry's was left by damage, and goes.
-- Answers for each: 1 a tombstone was removed, else 0.
local entries, order, _, _, buried, moved = unpack(KEYS)
local answers = {}

local function forget(line, seen)
  local version, id = string.sub(line, 1, 19), string.sub(line, 20)
  local entry = redis.call('HGET', entries, id) or ''
  local current = string.sub(entry, 1, 19) == version
  if current and entry ~= seen then return 0 end
  redis.call('ZREM', buried, line)
  redis.call('ZREM', moved, line)
  if not current then return 0 end
  if string.match(entry, '^%d+ %- ') then
    redis.call('HDEL', entries, id)
    redis.call('ZREM', order, line)
    return 1
  end
  redis.call('HSET', entries, id, (string.gsub(entry, '%S+$', '-')))
  return 0
end

for at = 1, #ARGV, 2 do
  answers[#answers + 1] = forget(ARGV[at], ARGV[at + 1])
end
return answers
