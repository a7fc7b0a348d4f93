-- What a read of one driver has to know.
-- ARGV: ns, src, driver, ids...
-- Returns {backlog, state or '' (it serves), lag (writes not applied), [scoped tombstones not applied], [entry or '' for each id], the space or '',
-- 1 if there are entries of any ids, else 0}.
local ns, src, driver = ARGV[1], ARGV[2], ARGV[3]
local place = ns .. '|' .. src .. '|' .. driver
local now_ms = math.floor(clock() / 1000)
local bucket = math.floor(now_ms / 10000)
local keys = { P .. 'lag:' .. place }
for back = 0, 2 do
  keys[#keys + 1] = P .. 'lagc:' .. place .. ':' .. int(bucket - back)
end
local entries, some = {}, 0
for _, key in ipairs(keys) do
  local exists = redis.call('EXISTS', key)
  some = math.max(some, exists)
  if #ARGV > 3 and exists == 1 then
    for index, entry in ipairs(redis.call('HMGET', key, unpack(ARGV, 4))) do
      local known = entries[index]
      if entry and (not known or tonumber(string.match(known, '^%d+')) < tonumber(string.match(entry, '^%d+'))) then
        entries[index] = entry
      end
    end
  end
end
for index = 1, #ARGV - 3 do
  entries[index] = entries[index] or ''
end
local scoped = {}
for _, version in ipairs(redis.call('ZRANGEBYSCORE', P .. 'stp:' .. place, int(now_ms), '+inf')) do
  local found = redis.call('ZRANGEBYSCORE', P .. 'st:' .. ns .. '|' .. src, version, version)
  scoped[#scoped + 1] = found[1]
end
return {
  tonumber(redis.call('HGET', P .. 'backlog', place) or 0), standing(src, driver),
  redis.call('HLEN', P .. 'lag:' .. place), scoped, entries,
  redis.call('HGET', P .. 'spaces:' .. src, 'active') or '', some,
}
