-- Enters units of envelopes; all or nothing of each.
-- ARGV: msgpack {check_ms, limits: {bytes, memories, ns_bytes, ns_memories, rate}, units: [{key, hash, answer, ttl, ns,
-- src, expects: [id, version, ...], seen, envelopes: [{src, q, drivers, n, slices, body, drops: [offset, id, ...], scoped,
-- noted, traces, vectors, space}]}]}, then the blobs: 'body' is an index into ARGV (this cmsgpack knows no binary type), and so
-- are 'noted', JSON [id, ...] of all its writes if they are to be noted, and 'vectors' of the space 'space', 0 for none; 'seen' is the newest delete by filter that a unit
-- was made in sight of, '' for one that asks for none.
-- Returns for each unit {'new', first} | {'replay', first, count, answer} | {'conflict'} | {'changed'} |
-- {'full', bound, seconds}, then 1 while bulk work has to be paced, else 0.
local arg = cmsgpack.unpack(ARGV[1])
local now = clock()
local next_version = math.max(tonumber(redis.call('GET', P .. 'ver') or '0') + 1, now)
local now_ms = math.floor(now / 1000)
local limits = arg.limits
local answers = {}

local function used(field)
  return tonumber(redis.call('HGET', P .. 'use', field) or 0)
end

-- The bound that n more memories of so many bytes would pass, with the seconds to wait; nil if none.
local function full(ns, n, bytes)
  if used('bytes') + bytes > limits.bytes or used('memories') + n > limits.memories then
    return { 'full', 'service', 2 }
  end
  if used('bytes|' .. ns) + bytes > limits.ns_bytes or used('memories|' .. ns) + n > limits.ns_memories then
    return { 'full', 'namespace', 2 }
  end
  if limits.rate == 0 then
    return nil
  end
  local burst = 10 * limits.rate
  local bucket = redis.call('HMGET', P .. 'rate:' .. ns, 'tokens', 'at')
  local tokens = tonumber(bucket[1] or burst) + (now_ms - tonumber(bucket[2] or now_ms)) * limits.rate / 1000
  tokens = math.min(tokens, burst)
  if tokens < math.min(n, burst) then
    return { 'full', 'rate', math.ceil((math.min(n, burst) - tokens) / limits.rate) }
  end
  redis.call('HSET', P .. 'rate:' .. ns, 'tokens', tostring(tokens - n), 'at', int(now_ms))
  redis.call('EXPIRE', P .. 'rate:' .. ns, 60)
  return nil
end

-- The members of a source, those that have everything first, in the order that the API has them in its settings: whatever
-- these lack or have besides, an envelope is for all members and for nobody else.
local known = {}
local function members(src, configured)
  local name = src .. '|' .. configured
  if known[name] then
    return known[name]
  end
  local state, order = {}, { redis.call('HGET', P .. 'first', src) or '' }
  for driver in string.gmatch(configured, '[^,]+') do
    order[#order + 1] = driver
  end
  local flat = redis.call('HGETALL', P .. 'members:' .. src)
  for at = 1, #flat, 2 do
    state[flat[at]] = flat[at + 1]
    order[#order + 1] = flat[at]
  end
  local whole, others = {}, {}
  for _, driver in ipairs(order) do
    if state[driver] == 'whole' then
      whole[#whole + 1] = driver
    elseif state[driver] and state[driver] ~= 'retired' then
      others[#others + 1] = driver
    end
    state[driver] = nil
  end
  for _, driver in ipairs(others) do
    whole[#whole + 1] = driver
  end
  known[name] = #flat > 0 and table.concat(whole, ',') or configured
  return known[name]
end

-- The last version of each id. What it takes the place of comes back should it be canceled.
local function note_last(place, noted, version)
  local e, ids, over, last, marks = P .. 'e:' .. int(version), cjson.decode(noted), {}, {}, {}
  for at, before in ipairs(redis.call('HMGET', P .. 'last:' .. place, unpack(ids))) do
    local id, own = ids[at], int(version + at - 1)
    before = last[id] or before
    if before then
      over[#over + 1] = own
      over[#over + 1] = before
    end
    last[id] = own
    marks[2 * at - 1] = id
    marks[2 * at] = own
  end
  redis.call('HSET', P .. 'last:' .. place, unpack(marks))
  redis.call('HSET', e, 'noted', noted)
  if #over > 0 then
    redis.call('HSET', e, 'over', cjson.encode(over))
  end
end

-- Which writes of an envelope are deletes: runs of positions; none of them is said, too.
local function deletes(envelope)
  if envelope.scoped ~= '' then
    return '0:1'
  end
  local runs, first, count = {}, nil, 0
  for at = 1, #envelope.drops, 2 do
    local position = tonumber(envelope.drops[at])
    if first and position == first + count then
      count = count + 1
    else
      if first then
        runs[#runs + 1] = first .. ':' .. count
      end
      first, count = position, 1
    end
  end
  if first then
    runs[#runs + 1] = first .. ':' .. count
  end
  return table.concat(runs, ',')
end

-- What each driver has to account for, and which deletes it has not applied. Every API is told of deletes at once:
-- should the journal go now, they know which places have some to apply.
local function note(ns, envelope, version)
  for driver in string.gmatch(envelope.drivers, '[^,]+') do
    local place = ns .. '|' .. envelope.src .. '|' .. driver
    redis.call('HINCRBY', P .. 'acct', place .. '|accepted', envelope.n)
    for at = 1, #envelope.drops, 2 do
      redis.call('HSET', P .. 'lag:' .. place, envelope.drops[at + 1], int(version + envelope.drops[at]) .. ' d')
    end
    if envelope.scoped ~= '' then
      redis.call('ZADD', P .. 'stp:' .. place, '+inf', int(version))
    end
  end
  if envelope.noted > 0 then
    note_last(ns .. '|' .. envelope.src, ARGV[envelope.noted], version)
  end
  redis.call('HSET', P .. 'e:' .. int(version), 'del', deletes(envelope))
  if envelope.scoped ~= '' then
    local place = ns .. '|' .. envelope.src
    redis.call('ZADD', P .. 'st:' .. place, int(version), int(version) .. ' ' .. envelope.scoped)
  end
  if #envelope.drops > 0 or envelope.scoped ~= '' then
    redis.call('PUBLISH', P .. 'deletes', ns .. '|' .. envelope.src)
  end
end

-- Memories, bytes, and whether it only deletes: that is never refused, since it makes room.
local function size(unit)
  local n, bytes, deletes = 0, 0, true
  for _, envelope in ipairs(unit.envelopes) do
    n = n + envelope.n
    bytes = bytes + #ARGV[envelope.body]
    deletes = deletes and (#envelope.drops == 2 * envelope.n or envelope.scoped ~= '')
  end
  return n, bytes, deletes
end

-- What the accepted memories add to what their namespaces have used; deletes use nothing.
local used_now = {}
local function count_used(ns, envelope)
  local memories = envelope.scoped == '' and envelope.n - #envelope.drops / 2 or 0
  if memories > 0 then
    local fields = { 'memories|' .. ns, memories, 'bytes|' .. ns, #ARGV[envelope.body] }
    for at = 1, #fields, 2 do
      used_now[fields[at]] = (used_now[fields[at]] or 0) + fields[at + 1]
    end
  end
end

-- Those that came along: nothing has to be embedded, while the source stays in their space.
local function keep_vectors(eid, ns, envelope)
  local vectors = ARGV[envelope.vectors]
  redis.call('SET', P .. 'v:' .. eid, vectors)
  redis.call('HSET', P .. 'e:' .. eid, 'vz', #vectors, 'vp', envelope.space)
  use(ns, 0, #vectors)
end

local function enter_unit(unit, first)
  local version = first
  for _, envelope in ipairs(unit.envelopes) do
    envelope.drivers = members(envelope.src, envelope.drivers)
    enter(int(version), unit.ns, envelope.src, envelope.q, envelope.drivers, envelope.n, envelope.slices,
      ARGV[envelope.body], now_ms, arg.check_ms)
    note(unit.ns, envelope, version)
    if envelope.traces ~= '' then
      redis.call('HSET', P .. 'e:' .. int(version), 'tp', envelope.traces)
    end
    if envelope.vectors > 0 then
      keep_vectors(int(version), unit.ns, envelope)
    end
    redis.call('SADD', P .. 'scopes', unit.ns .. '|' .. envelope.src)
    count('accepted|' .. envelope.q, envelope.n)
    count_minute(unit.ns, 'a', envelope.n)
    count_used(unit.ns, envelope)
    version = version + envelope.n
  end
end

local function known_answer(unit)
  if unit.key == '' then
    return nil
  end
  local known = redis.call('HMGET', P .. 'idem:' .. unit.ns .. ':' .. unit.key, 'hash', 'first', 'count', 'answer')
  if not known[1] then
    return nil
  end
  return known[1] == unit.hash and { 'replay', known[2], known[3], known[4] } or { 'conflict' }
end

-- Whether an id has another last version than the request was made for, or may have been deleted since.
local function changed(unit)
  if unit.seen ~= '' then
    local newer = redis.call('ZRANGEBYSCORE', P .. 'st:' .. unit.ns .. '|' .. unit.src, '(' .. unit.seen, '+inf', 'LIMIT', 0, 1)
    if #newer > 0 then
      return { 'changed' }
    end
  end
  for at = 1, #unit.expects, 2 do
    local last = redis.call('HGET', P .. 'last:' .. unit.ns .. '|' .. unit.src, unit.expects[at]) or '0'
    if last ~= unit.expects[at + 1] then
      return { 'changed' }
    end
  end
  return nil
end

for index, unit in ipairs(arg.units) do
  local n, bytes, deletes = size(unit)
  local answer = known_answer(unit) or changed(unit) or (not deletes and full(unit.ns, n, bytes))
  if not answer then
    answer = { 'new', int(next_version) }
    enter_unit(unit, next_version)
    if unit.key ~= '' then
      local idem = P .. 'idem:' .. unit.ns .. ':' .. unit.key
      redis.call('HSET', idem, 'hash', unit.hash, 'first', int(next_version), 'count', n, 'answer', unit.answer)
      redis.call('EXPIRE', idem, unit.ttl)
    end
    next_version = next_version + n
  end
  answers[index] = answer
end
redis.call('SET', P .. 'ver', int(next_version - 1))
write_counts(now_ms)
for field, n in pairs(used_now) do
  redis.call('HINCRBY', P .. 'used', field, int(n))
end
answers[#answers + 1] = redis.call('EXISTS', P .. 'hurry')
return answers
