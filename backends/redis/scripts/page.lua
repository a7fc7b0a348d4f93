-- One shard's next entries in (version, id) order, each with its digest ("-" for a tombstone), or nil
-- where the entry is not there in this version: the line was left by damage.
-- KEYS: entries, order    ARGV: where to start (as ZRANGE BYLEX takes it), how many at most
local members = redis.call('ZRANGE', KEYS[2], ARGV[1], '+', 'BYLEX', 'LIMIT', 0, ARGV[2])
local answers = {}
for _, member in ipairs(members) do
  local entry = redis.call('HGET', KEYS[1], string.sub(member, 20)) or ''
  local same = string.sub(entry, 1, 19) == string.sub(member, 1, 19)
  answers[#answers + 1] = member
  answers[#answers + 1] = same and string.match(entry, '^%S+', 22)
end
return answers
