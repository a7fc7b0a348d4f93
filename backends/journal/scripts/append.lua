-- Enters units of envelopes; all or (idempotency key known) nothing of each.
-- ARGV: msgpack {check_ms, units: [{key, hash, answer, ttl, ns, envelopes: [{src, q, drivers, n, slices, body}]}]},
-- then the bodies: 'body' is an index into ARGV (this cmsgpack knows no binary type).
-- Returns for each unit {'new', first} | {'replay', first, count, answer} | {'conflict'}.
local arg = cmsgpack.unpack(ARGV[1])
local now = clock()
local next_version = math.max(tonumber(redis.call('GET', P .. 'ver') or '0') + 1, now)
local now_ms = math.floor(now / 1000)
local answers = {}

local function enter(ns, envelope, version)
  local eid = int(version)
  local q, n = envelope.q, envelope.n
  redis.call('HSET', P .. 'e:' .. eid, 'ns', ns, 'src', envelope.src, 'q', q, 'd', envelope.drivers,
    'n', n, 'sl', envelope.slices, 'sz', #ARGV[envelope.body], 'at', int(now_ms), 'open', 1)
  redis.call('SET', P .. 'b:' .. eid, ARGV[envelope.body])
  redis.call('ZADD', P .. 'due', int(now_ms + arg.check_ms), eid .. '/' .. q)
  redis.call('ZADD', P .. 'envs:' .. ns, eid, eid)
  for driver in string.gmatch(envelope.drivers, '[^,]+') do
    redis.call('HINCRBY', P .. 'backlog', ns .. '|' .. envelope.src .. '|' .. driver, n)
  end
  wait(eid, q, ns, false)
end

for index, unit in ipairs(arg.units) do
  local idem = P .. 'idem:' .. unit.ns .. ':' .. unit.key
  local known = unit.key ~= '' and redis.call('HMGET', idem, 'hash', 'first', 'count', 'answer')
  if known and known[1] then
    if known[1] == unit.hash then
      answers[index] = { 'replay', known[2], known[3], known[4] }
    else
      answers[index] = { 'conflict' }
    end
  else
    local first, count = next_version, 0
    for _, envelope in ipairs(unit.envelopes) do
      enter(unit.ns, envelope, first + count)
      count = count + envelope.n
    end
    next_version = first + count
    if unit.key ~= '' then
      redis.call('HSET', idem, 'hash', unit.hash, 'first', int(first), 'count', count, 'answer', unit.answer)
      redis.call('EXPIRE', idem, unit.ttl)
    end
    answers[index] = { 'new', int(first) }
  end
end
redis.call('SET', P .. 'ver', int(next_version - 1))
return answers
