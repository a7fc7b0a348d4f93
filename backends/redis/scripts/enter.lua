-- Enter ops in one shard of the id directory; the higher stamp wins.
-- KEYS: entries, order, expiry, live    ARGV, five for each op: id, stamp, digest, home, expires
-- An entry is "stamp digest home pending": digest is "-" for a tombstone, home "-" for none, and
-- pending names the partitions (comma-separated, or "-") that may still hold an older record.
-- Answers for each op: "stale", "same" (a delete of that very version stands), or the pending ones.
local entries, order, expiry, live = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local answers, gained = {}, 0

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

local function enter(id, stamp, digest, home, expires)
  local entry, pending = redis.call('HGET', entries, id), '-'
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
  redis.call('HSET', entries, id, stamp .. ' ' .. digest .. ' ' .. home .. ' ' .. pending)
  redis.call('ZADD', order, 0, string.sub(stamp, 1, 19) .. id)
  if expires ~= '' then redis.call('ZADD', expiry, expires, id) end
  if digest ~= '-' then gained = gained + 1 end
  return pending
end

for at = 1, #ARGV, 5 do
  answers[#answers + 1] = enter(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
end
if gained ~= 0 then redis.call('INCRBY', live, gained) end
return answers
