-- One shard's next entries in (version, id) order, each with its digest ("-" for a tombstone).
-- KEYS: entries, order    ARGV: where to start (as ZRANGE BYLEX takes it), how many at most
local members = redis.call('ZRANGE', KEYS[2], ARGV[1], '+', 'BYLEX', 'LIMIT', 0, ARGV[2])
local answers = {}
for _, member in ipairs(members) do
  local entry = redis.call('HGET', KEYS[1], string.sub(member, 20))
  answers[#answers + 1] = member
  answers[#answers + 1] = string.match(entry, '^%d+ (%S+)')
end
return answers
