-- Takes the next envelope of a queue, namespaces in rotation, and along with it those behind it of
-- the same namespace and source, up to max_n memories and max_bytes. Attempts are counted here, before
-- the work starts. Envelopes whose lease once ran out are taken among themselves, and no more of them
-- than each allows: what killed a worker must not spread, and is alone after a few claims.
-- ARGV: queue, token, lease_ms, max_n, max_bytes
-- Returns {} or {ns, src, drivers, {eid, n, attempts, body, vectors}, ...}
local q, token = ARGV[1], ARGV[2]
local lease_ms, max_n, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local due_ms = int(math.floor(clock() / 1000) + lease_ms)

local ns = redis.call('LPOP', P .. 'w:' .. q)
if not ns then
  return {}
end
local list = P .. 'w:' .. q .. ':' .. ns
local claimed, source, drivers, total, bytes = {}, nil, nil, 0, 0

local function take(eid, fields)
  redis.call('LPOP', list)
  redis.call('HINCRBY', P .. 'waiting', q, -1)
  redis.call('HSET', P .. 'e:' .. eid, 's:' .. q, 'l', 'k:' .. q, token)
  local attempts = redis.call('HINCRBY', P .. 'e:' .. eid, 'a:' .. q, 1)
  redis.call('ZADD', P .. 'due', due_ms, eid .. '/' .. q)
  local vectors = redis.call('GET', P .. 'v:' .. eid) or ''
  claimed[#claimed + 1] = { eid, tonumber(fields[3]), attempts, redis.call('GET', P .. 'b:' .. eid), vectors }
  total = total + tonumber(fields[3])
  bytes = bytes + tonumber(fields[4])
end

local most = nil
local eid = redis.call('LINDEX', list, 0)
while eid do
  local fields = redis.call('HMGET', P .. 'e:' .. eid, 'src', 'd', 'n', 'sz', 'c:' .. q)
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
  eid = redis.call('LINDEX', list, 0)
end
for _, envelope in ipairs(claimed) do
  redis.call('HSET', P .. 'e:' .. envelope[1], 'g:' .. q, #claimed)
end
if redis.call('LLEN', list) > 0 then
  redis.call('RPUSH', P .. 'w:' .. q, ns)
end
return { ns, source, drivers, unpack(claimed) }
