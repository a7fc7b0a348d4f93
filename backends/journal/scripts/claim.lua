-- Takes the next envelope of a queue, namespaces in rotation, and along with it those behind it of
-- the same namespace and source, up to max_n memories and max_bytes. Attempts are counted here, before
-- the work starts. Envelopes whose lease once ran out are taken among themselves, and no more of them
-- than each allows: what killed a worker must not spread, and is alone after a few claims.
-- ARGV: queue, token, lease_ms, max_n, max_bytes
-- Returns {} or {ns, src, drivers, away, retired, epoch, scoped, hurry, envelope, ...}: 'away' the drivers that are detached and
-- 'retired' those that are not to come back (by commas), 'scoped' the scoped tombstones that are newer than the oldest envelope, 'hurry' 1 while bulk work has to be paced, and
-- for each envelope {eid, n, attempts, body, vectors, versions, most, kills, crashed, {driver, outcomes, errors, tries, ...}}.
local q, token = ARGV[1], ARGV[2]
local lease_ms, max_n, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock()
local due_ms = int(math.floor(now / 1000) + lease_ms)

local ns = redis.call('LPOP', P .. 'w:' .. q)
if not ns then
  return {}
end
local list = P .. 'w:' .. q .. ':' .. ns
local claimed, source, drivers, total, bytes, oldest = {}, nil, nil, 0, 0, nil

-- What earlier tries have left of each driver, if some have.
local function so_far(e, names)
  local found = {}
  for driver in string.gmatch(names, '[^,]+') do
    local fields = redis.call('HMGET', e, 'o:' .. driver, 'x:' .. driver, 'p:' .. driver)
    if fields[1] or fields[3] then
      found[#found + 1] = driver
      found[#found + 1] = fields[1] or ''
      found[#found + 1] = fields[2] or ''
      found[#found + 1] = tonumber(fields[3] or 0)
    end
  end
  return found
end

-- Those that were kept, unless they are of another space than the source has by now.
local function vectors(eid, e, src)
  local active = redis.call('HGET', P .. 'spaces:' .. src, 'active') or ''
  return (redis.call('HGET', e, 'vp') or '') == active and redis.call('GET', P .. 'v:' .. eid) or ''
end

-- One more single write has found a worker.
local function pace(late)
  if late then
    redis.call('SET', P .. 'hurry', HURRY, 'PX', HURRY_MS)
  elseif redis.call('EXISTS', P .. 'hurry') == 1 then
    if redis.call('DECR', P .. 'hurry') == 0 then
      redis.call('DEL', P .. 'hurry')
    else
      redis.call('PEXPIRE', P .. 'hurry', HURRY_MS)
    end
  end
end

local function take(eid, fields)
  local e = P .. 'e:' .. eid
  redis.call('LPOP', list)
  redis.call('HINCRBY', P .. 'waiting', q, -1)
  redis.call('HSET', e, 's:' .. q, 'l', 'k:' .. q, token, 'cl', fields[10] or int(math.floor(now / 1000)))
  local attempts = redis.call('HINCRBY', e, 'a:' .. q, 1)
  if q == 'deliver.interactive' and attempts == 1 then
    pace(now - tonumber(eid) > 1000 * WAIT_MS)
  end
  redis.call('ZADD', P .. 'due', due_ms, eid .. '/' .. q)
  claimed[#claimed + 1] = {
    eid, tonumber(fields[3]), attempts, redis.call('GET', P .. 'b:' .. eid), vectors(eid, e, fields[1]),
    fields[6] or '', tonumber(fields[7] or 0), tonumber(fields[8] or 0), fields[5] and 1 or 0,
    fields[9] and so_far(e, fields[2]) or {},
  }
  total = total + tonumber(fields[3])
  bytes = bytes + tonumber(fields[4])
  oldest = math.min(oldest or tonumber(eid), tonumber(eid))
end

local most = nil
local eid = redis.call('LINDEX', list, 0)
while eid do
  local fields = redis.call('HMGET', P .. 'e:' .. eid, 'src', 'd', 'n', 'sz', 'c:' .. q, 'vs', 'm:' .. q, 'z:' .. q, 'part', 'cl')
  local limit = tonumber(fields[5] or math.huge)
  if source then
    local fits = fields[1] == source and fields[2] == drivers
      and (limit == math.huge) == (most == math.huge) and #claimed < math.min(limit, most)
      and total + tonumber(fields[3]) <= max_n and bytes + tonumber(fields[4]) <= max_bytes
    if not fits then
      break
    end
  end
  source, drivers, most = fields[1], fields[2], math.min(limit, most or math.huge)
  take(eid, fields)
  if fields[6] then
    oldest = 0
  end
  eid = redis.call('LINDEX', list, 0)
end
for _, envelope in ipairs(claimed) do
  redis.call('HSET', P .. 'e:' .. envelope[1], 'g:' .. q, #claimed)
end
if redis.call('LLEN', list) > 0 then
  redis.call('RPUSH', P .. 'w:' .. q, ns)
end

local names = { away = {}, retired = {} }
for driver in string.gmatch(drivers, '[^,]+') do
  local found = names[standing(source, driver)]
  if found then
    found[#found + 1] = driver
  end
end
local away, retired = table.concat(names.away, ','), table.concat(names.retired, ',')
local scoped = redis.call('ZRANGEBYSCORE', P .. 'st:' .. ns .. '|' .. source, '(' .. int(oldest), '+inf')
local hurry = redis.call('EXISTS', P .. 'hurry')
return { ns, source, drivers, away, retired, epoch(source), scoped, hurry, unpack(claimed) }
