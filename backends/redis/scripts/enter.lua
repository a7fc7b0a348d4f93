-- Enter ops in one shard of the id directory; the higher stamp wins.
-- KEYS: entries, order, expiry, live, buried, moved
-- ARGV, three for each op (each id once): id, "stamp digest home", expires_at or ""
-- An entry is "stamp digest home elsewhere": digest is "-" for a tombstone, home "-" for none. Elsewhere
-- names the other partitions in which something of this id may lie (comma-separated, or "-"): as "~name"
-- nothing but a tombstone, else an older record too.
-- Answers for each op: "stale", or the partitions to drop it from (comma-separated, or "-"). An equal stamp
-- is done again, also where it was done before.
local entries, order, expiry, live, buried, moved = unpack(KEYS)
local ids, answers = {}, {}
local fields, ordered, expiring = {}, {}, {}
local taken, living, dying, tombs, movers = {}, {}, {}, {}, {}

local function parsed(entry)
  local stamp, digest, home, elsewhere = string.match(entry or '', '^(%d+) (%S+) (%S+) (%S+)$')
  if stamp and #stamp == 20 then return stamp, digest, home, elsewhere end
end

local function member(stamp, id)
  return string.sub(stamp, 1, 19) .. id
end

-- Every op removes the order's line of the entry before it. If the line of the op's own version stands and
-- that of the higher entry does not, then no op has written that entry.
local function forged(stamp, old_stamp, id)
  return redis.call('ZSCORE', order, member(stamp, id))
    and not redis.call('ZSCORE', order, member(old_stamp, id))
end

local function left_behind(old_home, old_elsewhere, home)
  local names, found = {}, {}
  for name in string.gmatch(old_home .. ',' .. old_elsewhere, '[^,]+') do
    local plain = string.gsub(name, '^~', '')
    if plain ~= '-' and plain ~= home and not found[plain] then
      found[plain] = true
      names[#names + 1] = name
    end
  end
  return names
end

local function to_drop(names, again)
  local wanted = {}
  for _, name in ipairs(names) do
    if again or string.sub(name, 1, 1) ~= '~' then
      wanted[#wanted + 1] = string.gsub(name, '^~', '')
    end
  end
  return #wanted > 0 and table.concat(wanted, ',') or '-'
end

local function add(list, score, value)
  list[#list + 1] = score
  list[#list + 1] = value
end

local function note(id, line, alive, elsewhere, expires)
  add(ordered, 0, line)
  if alive then
    add(living, 0, id)
    if elsewhere ~= '-' then add(movers, 0, line) end
  else
    add(tombs, 0, line)
    dying[#dying + 1] = id
  end
  if expires ~= '' then add(expiring, expires, id) end
end

local function enter(id, given, expires, entry)
  local stamp, digest, home = string.match(given, '^(%d+) (%S+) (%S+)$')
  local old_stamp, _, old_home, old_elsewhere = parsed(entry)
  local names = {}
  if old_stamp then
    if stamp < old_stamp and not forged(stamp, old_stamp, id) then
      return 'stale'
    end
    names = left_behind(old_home, old_elsewhere, home)
    local line = member(old_stamp, id)
    redis.call('ZREM', order, line)
    redis.call('ZREM', buried, line)
    redis.call('ZREM', moved, line)
  end
  local elsewhere = #names > 0 and table.concat(names, ',') or '-'
  add(fields, id, given .. ' ' .. elsewhere)
  taken[#taken + 1] = id
  note(id, member(stamp, id), digest ~= '-', elsewhere, expires)
  return to_drop(names, stamp == old_stamp)
end

local function write(command, key, values)
  if #values > 0 then redis.call(command, key, unpack(values)) end
end

for at = 1, #ARGV, 3 do
  ids[#ids + 1] = ARGV[at]
end
local stored = redis.call('HMGET', entries, unpack(ids))
for number, id in ipairs(ids) do
  local at = 3 * number - 2
  answers[number] = enter(id, ARGV[at + 1], ARGV[at + 2], stored[number])
end
write('HSET', entries, fields)
write('ZADD', order, ordered)
write('ZADD', live, living)
write('ZREM', live, dying)
write('ZADD', buried, tombs)
write('ZADD', moved, movers)
write('ZREM', expiry, taken)
write('ZADD', expiry, expiring)
return answers
