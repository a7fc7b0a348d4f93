-- Enter ops in one shard of the id directory; the higher stamp wins.
-- KEYS: entries, order, expiry, live
-- ARGV, three for each op (each id once): id, "stamp digest home", expires_at or ""
-- An entry is "stamp digest home pending": digest is "-" for a tombstone, home "-" for none, and
-- pending names the partitions (comma-separated, or "-") that may still hold an older record.
-- Answers for each op: "stale", "same" (a delete of that very version stands), or the pending ones.
local entries, order, expiry, live = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ids, answers, gained = {}, {}, 0
local fields, members, expiring = {}, {}, {}

local function left_behind(old_home, old_pending, home)
  local names, found = {}, {}
  for name in string.gmatch(old_pending .. ',' .. old_home, '[^,]+') do
    if name ~= '-' and name ~= home and not found[name] then
      found[name] = true
      names[#names + 1] = name
    end
  end
  return #names > 0 and table.concat(names, ',') or '-'
end

local function enter(id, given, expires, entry)
  local stamp, digest, home = string.match(given, '^(%d+) (%S+) (%S+)$')
  local pending = '-'
  if entry then
    local old_stamp, old_digest, old_home, old_pending =
      string.match(entry, '^(%d+) (%S+) (%S+) (%S+)$')
    if stamp < old_stamp then
      return string.sub(stamp, 1, 19) == string.sub(old_stamp, 1, 19) and 'same' or 'stale'
    end
    pending = left_behind(old_home, old_pending, home)
    if old_digest ~= '-' then gained = gained - 1 end
    redis.call('ZREM', order, string.sub(old_stamp, 1, 19) .. id)
    redis.call('ZREM', expiry, id)
  end
  if digest ~= '-' then gained = gained + 1 end
  fields[#fields + 1] = id
  fields[#fields + 1] = given .. ' ' .. pending
  members[#members + 1] = 0
  members[#members + 1] = string.sub(stamp, 1, 19) .. id
  if expires ~= '' then
    expiring[#expiring + 1] = expires
    expiring[#expiring + 1] = id
  end
  return pending
end

for at = 1, #ARGV, 3 do
  ids[#ids + 1] = ARGV[at]
end
local stored = redis.call('HMGET', entries, unpack(ids))
for number, id in ipairs(ids) do
  local at = 3 * number - 2
  answers[number] = enter(id, ARGV[at + 1], ARGV[at + 2], stored[number])
end
if #fields > 0 then
  redis.call('HSET', entries, unpack(fields))
  redis.call('ZADD', order, unpack(members))
  if #expiring > 0 then redis.call('ZADD', expiry, unpack(expiring)) end
  if gained ~= 0 then redis.call('INCRBY', live, gained) end
end
return answers
