-- Replays dead letters (under their own versions, in envelopes of their own) or deletes them.
-- ARGV: action 'replay' or 'delete', ns, check_ms, versions... (at most 512)
-- Returns {number of dead letters found, first version of the replay's job or false, queue of each envelope, eid, ...}.
local action, ns, check_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = clock()
local groups, found = {}, 0

local function present(src)
  local found = {}
  for _, driver in ipairs(redis.call('HKEYS', P .. 'members:' .. src)) do
    if standing(src, driver) ~= 'retired' then
      found[#found + 1] = driver
    end
  end
  return found
end

-- The drivers that lack it: those that gave it up, but for who is retired, and those that became members since.
local function lacking(src, drivers, version)
  local found = {}
  for driver in string.gmatch(drivers, '[^,]+') do
    if standing(src, driver) ~= 'retired' then
      found[#found + 1] = driver
    end
  end
  for _, driver in ipairs(redis.call('HKEYS', P .. 'members:' .. src)) do
    local joined = redis.call('HGET', P .. 'joined', src .. '|' .. driver)
    if joined and tonumber(version) <= tonumber(joined) and standing(src, driver) ~= 'retired'
      and not string.find(',' .. drivers .. ',', ',' .. driver .. ',', 1, true) then
      found[#found + 1] = driver
    end
  end
  -- Nobody: whoever is there may write it once more, and is none the worse for it.
  return #found > 0 and table.concat(found, ',') or table.concat(present(src), ',')
end

local function add(version, dead)
  local src, q, drivers, payload = unpack(dead)
  local lack = lacking(src, drivers, version)
  local name = src .. '|' .. q .. '|' .. drivers .. '|' .. lack
  if not groups[name] then
    groups[name] = { src = src, q = q, drivers = lack, failed = drivers, versions = {}, payloads = {} }
    groups[#groups + 1] = groups[name]
  end
  table.insert(groups[name].versions, version)
  table.insert(groups[name].payloads, payload)
end

for at = 4, #ARGV do
  local key = P .. 'dl:' .. ARGV[at]
  local dead = redis.call('HMGET', key, 'src', 'q', 'drivers', 'payload', 'ns', 'code')
  if dead[5] == ns then
    found = found + 1
    add(ARGV[at], dead)
    redis.call('DEL', key)
    redis.call('ZREM', P .. 'dls:' .. ns, ARGV[at])
    if redis.call('HINCRBY', P .. 'dlc:' .. ns, dead[6], -1) <= 0 then
      redis.call('HDEL', P .. 'dlc:' .. ns, dead[6])
    end
    use(ns, 0, -#dead[4])
  end
end
if action == 'delete' or found == 0 then
  return { found, false }
end

-- A msgpack array of the payloads, each of which is one write.
local function body(payloads)
  local n = #payloads
  local header = n < 16 and string.char(144 + n) or string.char(220, math.floor(n / 256), n % 256)
  return header .. table.concat(payloads)
end

local first = math.max(tonumber(redis.call('GET', P .. 'ver') or '0') + 1, now)
local answer = { found, int(first) }
local version = first
for index, group in ipairs(groups) do
  local n = #group.versions
  enter(int(version), ns, group.src, group.q, group.drivers, n, index == 1 and '0:' .. found or '', body(group.payloads),
    math.floor(now / 1000), check_ms, table.concat(group.versions, ','))
  redis.call('HSET', P .. 'e:' .. int(version), 'fd', group.failed)
  answer[#answer + 1] = group.q
  answer[#answer + 1] = int(version)
  version = version + n
end
redis.call('SET', P .. 'ver', int(version - 1))
return answer
