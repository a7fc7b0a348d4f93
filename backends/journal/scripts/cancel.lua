-- Ends memories that no worker has claimed yet. Not deletes, which reads obey since they were accepted; nor where nobody said
-- which are deletes: that is what a replay brings, which was tried before, or what an earlier release accepted. An envelope
-- ends with the last of its memories.
-- ARGV: ns, keep_body_ms, keep_ms, first version, count, ... of ranges. Returns how many of each range were canceled.
local ns = ARGV[1]
local keeps = { body = tonumber(ARGV[2]), ok = tonumber(ARGV[3]), failed = tonumber(ARGV[3]) }
local now_ms = math.floor(clock() / 1000)
local answers = {}
local FEW, AT_ONCE = 8, 500

-- Canceled writes that this call looks through, at most, for one before them that waits still.
local hops = 10000

-- For each queue the envelopes that leave the waiting: 'eids' (in the order that they were met), 'gone' by eid.
local leaving = {}

-- One letter for each memory. Of what was never claimed all drivers have the same.
local function letters_of(e, it)
  local letters = redis.call('HGET', e, 'o:' .. string.match(it.drivers, '^[^,]+')) or '.'
  return #letters == 1 and string.rep(letters, it.n) or letters
end

-- An envelope of ours as it is by now, looked up once; false if it is not known any more.
local known = {}
local function look(eid)
  if known[eid] == nil then
    local e = P .. 'e:' .. eid
    local fields = redis.call('HMGET', e, 'ns', 'src', 'q', 'd', 'n', 'del', 'fin')
    known[eid] = fields[1] and { e = e, first = tonumber(eid), ns = fields[1], src = fields[2], q = fields[3],
      drivers = fields[4], n = tonumber(fields[5]), deletes = fields[6], ended = fields[7],
      place = fields[1] .. '|' .. fields[2] }
    if known[eid] then
      known[eid].letters = letters_of(e, known[eid])
    end
  end
  return known[eid]
end

-- The version that a canceled one took the place of; nil if it found none noted.
local function noted_before(it, version)
  if not it.over then
    it.over = {}
    local over = cjson.decode(redis.call('HGET', it.e, 'over') or '[]')
    for at = 1, #over, 2 do
      it.over[over[at]] = over[at + 1]
    end
  end
  return it.over[version]
end

-- The envelope of a version, which is most often that of the one looked at before it.
local function holding(version, it)
  local number = tonumber(version)
  if number < it.first or number >= it.first + it.n then
    local eid = redis.call('ZREVRANGEBYSCORE', P .. 'envs:' .. ns, version, '-inf', 'LIMIT', 0, 1)[1]
    it = eid and look(eid)
  end
  return it and number < it.first + it.n and it or nil
end

-- What was accepted before a canceled version and is not stored yet; nil if that was nothing.
local function open_before(it, version)
  local older = noted_before(it, version)
  while older do
    it = holding(older, it)
    local letter = it and string.sub(it.letters, tonumber(older) - it.first + 1, tonumber(older) - it.first + 1)
    if letter ~= 'c' then
      return it and not it.ended and older or nil
    end
    hops = hops - 1
    older = hops > 0 and noted_before(it, older)
  end
end

-- What was accepted before and is not stored yet is the last version of the id again. If there is nothing like that, the
-- canceled one stays noted as long as any that has ended: who looks finds it canceled, and the last one in the stores.
local function unnote(it, positions)
  local noted, ids, versions, ended = cjson.decode(redis.call('HGET', it.e, 'noted') or '[]'), {}, {}, {}
  for _, position in ipairs(#noted > 0 and positions or {}) do
    ids[#ids + 1] = noted[position + 1]
    versions[#versions + 1] = int(it.first + position)
  end
  for at, last in ipairs(#ids > 0 and redis.call('HMGET', P .. 'last:' .. it.place, unpack(ids)) or {}) do
    local older = last == versions[at] and open_before(it, last)
    if older then
      redis.call('HSET', P .. 'last:' .. it.place, ids[at], older)
    elseif last == versions[at] then
      ended[#ended + 1] = ids[at]
    end
  end
  if #ended > 0 then
    redis.call('HPEXPIRE', P .. 'last:' .. it.place, KEEP_NOTED_MS, 'FIELDS', #ended, unpack(ended))
  end
end

local function deletes_of(it)
  local found = {}
  for first, count in string.gmatch(it.deletes, '(%d+):(%d+)') do
    for position = tonumber(first), first + count - 1 do
      found[position] = true
    end
  end
  return found
end

-- The letters with those of the positions from 'first' to 'last' canceled that are no deletes, and which they were.
local function canceled(it, first, last)
  local letters, positions, is_delete = {}, {}, deletes_of(it)
  for letter in string.gmatch(it.letters, '.') do
    letters[#letters + 1] = letter
  end
  for position = first, last do
    if letters[position + 1] == '.' and not is_delete[position] then
      letters[position + 1] = 'c'
      positions[#positions + 1] = position
    end
  end
  return table.concat(letters), positions
end

local function remember(eid, it, positions)
  local key = P .. 'canceled:' .. it.place
  local first, count = nil, 0
  local function add()
    local version = int(tonumber(eid) + first)
    redis.call('ZADD', key, version, version .. ':' .. count)
  end
  for _, position in ipairs(positions) do
    if first and position ~= first + count then
      add()
      first = nil
    end
    first, count = first or position, first and count + 1 or 1
  end
  add()
  redis.call('ZREMRANGEBYRANK', key, 0, -CANCELED_KEPT - 1)
end

-- Many that stand near each other: what is between them and the nearer end of the list is taken off and put back.
local function pick_out(list, gone, left, is_behind)
  local pop, push = 'LPOP', 'LPUSH'
  if is_behind then
    pop, push = 'RPOP', 'RPUSH'
  end
  local kept = {}
  while left > 0 do
    local popped = redis.call(pop, list, AT_ONCE)
    if not popped then
      break
    end
    for _, eid in ipairs(popped) do
      if gone[eid] then
        left = left - 1
      else
        kept[#kept + 1] = eid
      end
    end
  end
  while #kept > 0 do
    local part = {}
    while #kept > 0 and #part < AT_ONCE do
      part[#part + 1] = table.remove(kept)
    end
    redis.call(push, list, unpack(part))
  end
end

local function leave_the_waiting(q, those)
  local list = P .. 'w:' .. q .. ':' .. ns
  if #those.eids <= FEW then
    for _, eid in ipairs(those.eids) do
      redis.call('LREM', list, -1, eid)
    end
  else
    local middle = redis.call('LINDEX', list, math.floor(redis.call('LLEN', list) / 2))
    pick_out(list, those.gone, #those.eids, tonumber(those.eids[1]) >= tonumber(middle))
  end
  redis.call('HINCRBY', P .. 'waiting', q, -#those.eids)
  if redis.call('LLEN', list) == 0 then
    redis.call('LREM', P .. 'w:' .. q, 1, ns)
  end
end

local function end_all(eid, e, it)
  leaving[it.q] = leaving[it.q] or { eids = {}, gone = {} }
  table.insert(leaving[it.q].eids, eid)
  leaving[it.q].gone[eid] = true
  for driver in string.gmatch(it.drivers, '[^,]+') do
    local place = it.place .. '|' .. driver
    redis.call('HINCRBY', P .. 'backlog', place, -it.n)
    redis.call('HINCRBY', P .. 'backlog', driver, -it.n)
    account(place, 'c', it.n, 1)
    count('ended|' .. driver .. '|c', it.n)
  end
  end_stage(eid, e, it.q)
  finish(eid, e, it, keeps, now_ms)
end

local function cancel(eid, first, last)
  local it = look(eid)
  if not it or it.ended or not it.deletes then
    return 0
  end
  local state, held = unpack(redis.call('HMGET', it.e, 's:' .. it.q, 'g:' .. it.q))
  if state ~= 'w' or held then
    return 0
  end
  local letters, positions = canceled(it, math.max(first - eid, 0), math.min(last - eid, it.n - 1))
  if #positions == 0 then
    return 0
  end
  it.letters = letters
  local whole = not string.find(letters, '[^c]')
  for driver in string.gmatch(it.drivers, '[^,]+') do
    redis.call('HSET', it.e, 'o:' .. driver, whole and 'c' or letters, 'part', 1)
  end
  unnote(it, positions)
  remember(eid, it, positions)
  if whole then
    end_all(eid, it.e, it)
    it.ended = true
  end
  wake(eid)
  return #positions
end

for at = 4, #ARGV, 2 do
  local first = tonumber(ARGV[at])
  local last = first + tonumber(ARGV[at + 1]) - 1
  local envelopes = redis.call('ZREVRANGEBYSCORE', P .. 'envs:' .. ns, int(first), '-inf', 'LIMIT', 0, 1)
  for _, eid in ipairs(redis.call('ZRANGEBYSCORE', P .. 'envs:' .. ns, '(' .. int(first), int(last))) do
    envelopes[#envelopes + 1] = eid
  end
  local count = 0
  for _, eid in ipairs(envelopes) do
    count = count + cancel(eid, first, last)
  end
  answers[#answers + 1] = count
end
for q, those in pairs(leaving) do
  leave_the_waiting(q, those)
end
write_counts(now_ms)
return answers
