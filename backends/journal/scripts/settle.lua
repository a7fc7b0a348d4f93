-- Ends stages, or sets them down for later. Only the holder of the lease may.
-- What was written to other spaces than the source has by now is done again, at once.
-- ARGV: msgpack {token, queue, epoch, keep_body_ms, keep_ok_ms, keep_failed_ms, seen, detach_at, bounds: [ms, ...], counts: {name: n}, tally: [stage, ok, bad, ...],
-- alarms: [stage, text, ...], entries: [{eid, again_ms (-1: no), refund, progress, vectors, dead: [{version, payload, id,
-- stage, code, detail, drivers, attempts}], results: [{driver, outcomes, errors, later_ms (-1: done), tried, skip,
-- cleared: [id, version, ...], lagging: [id, entry, ...], scopes: [version, ...], span: [ms ago, ms ago] or []}]}]}
-- then the blobs: 'vectors' and 'payload' are indexes into ARGV.
-- Returns for each entry 'ok', 'lost', or 'look' if there are scoped tombstones newer than 'seen' to be looked at first.
local arg = cmsgpack.unpack(ARGV[1])
local q = arg.queue
local now_ms = math.floor(clock() / 1000)
local keeps = { body = arg.keep_body_ms, ok = arg.keep_ok_ms, failed = arg.keep_failed_ms }
local answers = {}
local MOST_TOTALS = 2000

local function set_down(eid, stage, later_ms, refund)
  local e = P .. 'e:' .. eid
  redis.call('HSET', e, 's:' .. stage, 'r')
  redis.call('HDEL', e, 'k:' .. stage)
  if refund then
    redis.call('HINCRBY', e, 'a:' .. stage, -1)
  end
  redis.call('ZADD', P .. 'due', int(now_ms + later_ms), eid .. '/' .. stage)
end

-- The codes of errors may be a strange driver's own: beyond a bound they are one.
local function bounded(name, other)
  local known = redis.call('HLEN', P .. 'totals') < MOST_TOTALS or redis.call('HEXISTS', P .. 'totals', name) == 1
  return known and name or other
end

local function bury(it, dead)
  local key = P .. 'dl:' .. dead.version
  local known = redis.call('HGET', key, 'drivers')
  if known then
    for driver in string.gmatch(dead.drivers, '[^,]+') do
      if not string.find(',' .. known .. ',', ',' .. driver .. ',', 1, true) then
        known = known .. ',' .. driver
      end
    end
    redis.call('HSET', key, 'drivers', known)
    return
  end
  local payload = ARGV[dead.payload]
  redis.call('HSET', key, 'id', dead.id, 'ns', it.ns, 'src', it.src, 'q', it.q, 'stage', dead.stage, 'code', dead.code,
    'detail', dead.detail, 'drivers', dead.drivers, 'attempts', dead.attempts, 'at', int(now_ms), 'payload', payload)
  redis.call('ZADD', P .. 'dls:' .. it.ns, dead.version, dead.version)
  redis.call('HINCRBY', P .. 'dlc:' .. it.ns, dead.code, 1)
  count_minute(it.ns, 'f', 1)
  count(bounded('dead|' .. dead.code, 'dead|other'), 1)
  use(it.ns, 0, #payload)
end

local function clear(place, cleared)
  local bucket = P .. 'lagc:' .. place .. ':' .. int(math.floor(now_ms / 10000))
  for at = 1, #cleared, 2 do
    local held = redis.call('HGET', P .. 'lag:' .. place, cleared[at])
    if held and tonumber(string.match(held, '^%d+')) <= tonumber(cleared[at + 1]) then
      redis.call('HDEL', P .. 'lag:' .. place, cleared[at])
      redis.call('HSET', bucket, cleared[at], held)
      redis.call('PEXPIRE', bucket, 10000 + LINGER_MS)
    end
  end
end

local function note_lagging(place, lagging)
  for at = 1, #lagging, 2 do
    local held = redis.call('HGET', P .. 'lag:' .. place, lagging[at])
    local version = tonumber(string.match(lagging[at + 1], '^%d+'))
    if not held or tonumber(string.match(held, '^%d+')) < version then
      -- A delete that is not applied either still hides what is older, until this write is applied.
      local deleted = held and string.sub(held, -2) == ' d'
      redis.call('HSET', P .. 'lag:' .. place, lagging[at], deleted and int(version) .. ' d' or lagging[at + 1])
    end
  end
end

-- What a replay did is said by the job that the memory came with.
local function tell_origin(it, driver, position, letter)
  local version = it.versions[position]
  local found = redis.call('ZREVRANGEBYSCORE', P .. 'envs:' .. it.ns, version, '-inf', 'LIMIT', 0, 1)
  local e = found[1] and P .. 'e:' .. found[1]
  local n, outcomes, errors = unpack(e and redis.call('HMGET', e, 'n', 'o:' .. driver, 'x:' .. driver) or {})
  local at = e and tonumber(version) - tonumber(found[1])
  if not outcomes or at >= tonumber(n) then
    return
  end
  outcomes = #outcomes == 1 and string.rep(outcomes, tonumber(n)) or outcomes
  local left = {}
  for _, error in ipairs(errors ~= '' and cjson.decode(errors) or {}) do
    if error[1] ~= at then
      left[#left + 1] = error
    end
  end
  redis.call('HSET', e, 'o:' .. driver, string.sub(outcomes, 1, at) .. letter .. string.sub(outcomes, at + 2),
    'x:' .. driver, #left > 0 and cjson.encode(left) or '')
end

local function account_replay(it, driver, outcomes)
  for position = 1, it.n do
    local letter = #outcomes == 1 and outcomes or string.sub(outcomes, position, position)
    if letter ~= 'f' then
      account(it.place .. '|' .. driver, 'f', 1, -1)
      account(it.place .. '|' .. driver, letter, 1, 1)
      tell_origin(it, driver, position, letter)
    end
  end
end

-- When the driver worked on it: '<from ms>,<to ms>'; '' if it was not asked.
local function span(result)
  return result.span[1] and int(now_ms - result.span[1]) .. ',' .. int(now_ms - result.span[2]) or ''
end

local function record(e, it, result)
  if result.outcomes ~= '' then
    redis.call('HSET', e, 'o:' .. result.driver, result.outcomes, 'x:' .. result.driver, result.errors,
      't:' .. result.driver, span(result), 'part', 1)
  end
  if result.tried then
    -- Only a try since the last of which the driver took others counts against the memories that failed.
    local taken = redis.call('HGET', P .. 'acct', it.place .. '|' .. result.driver .. '|a') or '0'
    if redis.call('HGET', e, 'pk:' .. result.driver) ~= taken then
      redis.call('HINCRBY', e, 'p:' .. result.driver, 1)
      redis.call('HSET', e, 'pk:' .. result.driver, taken, 'part', 1)
    end
  end
end

-- The driver by which an envelope's memories are found: the first that was not away.
local served = {}
local function serving(it)
  local name = it.src .. '|' .. it.drivers
  if served[name] == nil then
    served[name] = false
    for driver in string.gmatch(it.drivers, '[^,]+') do
      local state = standing(it.src, driver)
      if state == '' or state == 'absent' then
        served[name] = driver
        break
      end
    end
  end
  return served[name]
end

-- Once for each envelope, whatever comes of it again. How long it took: not of a replay, which waited for somebody.
local function count_stored(e, it, outcomes)
  local stored = 0
  letters(outcomes, it.n, function(letter, found)
    stored = stored + ((letter == 'a' or letter == 's') and found or 0)
  end)
  if stored == 0 or redis.call('HSETNX', e, 'found', 1) == 0 then
    return
  end
  count_minute(it.ns, 's', stored)
  if it.versions then
    return
  end
  local took = math.max(0, now_ms - it.at)
  local within = 'inf'
  for _, bound in ipairs(arg.bounds) do
    if took <= bound then
      within = int(bound)
      break
    end
  end
  count_minute(it.ns, 't' .. within, stored)
  count('searchable|' .. within, stored)
  count('searchable|sum', stored * took)
end

local function end_driver(e, it, result)
  local place = it.place .. '|' .. result.driver
  record(e, it, result)
  redis.call('HINCRBY', P .. 'backlog', place, -it.n)
  redis.call('HINCRBY', P .. 'backlog', result.driver, -it.n)
  if q == 'store.' .. result.driver then
    redis.call('HINCRBY', P .. 'backlog', q, -it.n)
  end
  clear(place, result.cleared)
  for _, version in ipairs(result.scopes) do
    redis.call('ZREMRANGEBYSCORE', P .. 'stp:' .. place, '-inf', int(now_ms))
    redis.call('ZADD', P .. 'stp:' .. place, int(now_ms + LINGER_MS), version)
  end
  local lacked = string.find(',' .. (it.failed or it.drivers) .. ',', ',' .. result.driver .. ',', 1, true)
  if not it.versions then
    account(place, result.outcomes, it.n, 1)
  elseif lacked then
    account_replay(it, result.driver, result.outcomes)
  end
  letters(result.outcomes, it.n, function(letter, found)
    count('ended|' .. result.driver .. '|' .. letter, found)
  end)
  if result.driver == serving(it) and (lacked or not it.versions) then
    count_stored(e, it, result.outcomes)
  end
end

-- Another driver of the envelope, that is to stay, holds all of it, so that reconcile can bring this one what it skips.
-- For one that is not to come back a dead letter is as good: it keeps its memory by itself. So is another that was retired:
-- it could go only because one stays that has everything, and that was filled after it had ended this.
local function held_elsewhere(e, it, driver, state)
  local gone = state == 'retired'
  for other in string.gmatch(it.drivers, '[^,]+') do
    local counts = other ~= driver and (gone or standing(it.src, other) ~= 'retired')
    local outcomes = counts and redis.call('HGET', e, 'o:' .. other) or ''
    local missing = gone and '[^asfc]' or '[^asc]'
    if outcomes ~= '' and not string.find(outcomes, missing) then
      return true
    end
  end
  return false
end

local function note_skipped(name, it, first)
  local known = redis.call('HGET', P .. 'skipped:' .. name, it.place)
  if not known or tonumber(first) < tonumber(known) then
    redis.call('HSET', P .. 'skipped:' .. name, it.place, first)
  end
end

local function skip(e, it, eid, result)
  local state = standing(it.src, result.driver)
  if (state ~= 'away' and state ~= 'retired') or not held_elsewhere(e, it, result.driver, state) then
    return false
  end
  end_driver(e, it, result)
  local first = it.versions and it.versions[1] or eid
  if redis.call('HGET', P .. 'detached', result.driver) == 'away' then
    note_skipped(result.driver, it, first)
  end
  if redis.call('HGET', P .. 'members:' .. it.src, result.driver) == 'away' then
    note_skipped(it.src .. '|' .. result.driver, it, first)
  end
  return true
end

local function keep_vectors(eid, e, it, index)
  if index > 0 then
    local old = tonumber(redis.call('HGET', e, 'vz') or 0)
    redis.call('SET', P .. 'v:' .. eid, ARGV[index])
    redis.call('HSET', e, 'vz', #ARGV[index], 'vp', redis.call('HGET', P .. 'spaces:' .. it.src, 'active') or '')
    use(it.ns, 0, #ARGV[index] - old)
  end
end

-- One that is on its way back goes away again only far beyond the bound: it may be slow, but it must not be given up
-- because of what came while it was merged.
local function detach(driver, backlog)
  if backlog > 2 * arg.detach_at then
    redis.call('HSET', P .. 'detached', driver, 'away')
  elseif backlog > arg.detach_at then
    redis.call('HSETNX', P .. 'detached', driver, 'away')
  end
end

local function store_later(eid, e, it, result)
  local stage = 'store.' .. result.driver
  record(e, it, { driver = result.driver, outcomes = result.skip and '' or result.outcomes, errors = result.errors,
    tried = result.tried, span = result.span })
  note_lagging(it.place .. '|' .. result.driver, result.lagging)
  if stage ~= q then
    redis.call('HINCRBY', e, 'open', 1)
    redis.call('HINCRBY', P .. 'backlog', stage, it.n)
  end
  set_down(eid, stage, result.later_ms, result.refund)
  if not result.refund then
    count('retried|' .. result.driver, 1)
  end
  if standing(it.src, result.driver) ~= 'retired' then
    detach(result.driver, tonumber(redis.call('HGET', P .. 'backlog', stage) or 0))
  end
  return stage == q
end

local function unseen(it, eid)
  local since = math.max(arg.seen, it.versions and 0 or tonumber(eid))
  return #redis.call('ZRANGEBYSCORE', P .. 'st:' .. it.place, '(' .. int(since), '+inf', 'LIMIT', 0, 1) > 0
end

local function read(e)
  local fields = redis.call('HMGET', e, 'ns', 'src', 'n', 'd', 'q', 'vs', 'fd', 'at')
  local versions = nil
  if fields[6] then
    versions = {}
    for version in string.gmatch(fields[6], '%d+') do
      versions[#versions + 1] = version
    end
  end
  return { ns = fields[1], src = fields[2], n = tonumber(fields[3]), drivers = fields[4], q = fields[5],
    failed = fields[7] or nil, at = tonumber(fields[8]), versions = versions, place = fields[1] .. '|' .. fields[2] }
end

-- A claim that was too much for its worker is tried in parts: after one that went well the next is twice as large.
local function grow(e, it)
  local most = tonumber(redis.call('HGET', e, 'm:' .. q) or it.n)
  redis.call('HDEL', e, 'z:' .. q)
  if 2 * most < it.n then
    redis.call('HSET', e, 'm:' .. q, 2 * most)
  else
    redis.call('HDEL', e, 'm:' .. q)
  end
end

-- True if the stage itself goes on.
local function share_out(entry, eid, e, it)
  local goes_on = false
  for _, result in ipairs(entry.results) do
    if result.later_ms < 0 and not result.skip then
      end_driver(e, it, result)
    end
  end
  for _, result in ipairs(entry.results) do
    if result.later_ms >= 0 or (result.skip and not skip(e, it, eid, result)) then
      result.later_ms = math.max(result.later_ms, result.skip and 5000 or 0)
      goes_on = store_later(eid, e, it, result) or goes_on
    end
  end
  return goes_on
end

local function settle(entry)
  local eid = entry.eid
  local e = P .. 'e:' .. eid
  if redis.call('HGET', e, 'k:' .. q) ~= arg.token then
    return 'lost'
  end
  local it = read(e)
  if unseen(it, eid) then
    return 'look'
  end
  if arg.epoch ~= epoch(it.src) then
    set_down(eid, q, math.max(entry.again_ms, 0), true)
    return 'ok'
  end
  keep_vectors(eid, e, it, entry.vectors)
  for _, dead in ipairs(entry.dead) do
    bury(it, dead)
  end
  if entry.progress then
    grow(e, it)
  end
  if entry.again_ms >= 0 then
    for _, result in ipairs(entry.results) do
      record(e, it, result)
    end
    set_down(eid, q, entry.again_ms, entry.refund)
    count('retried|embed', 1)
  elseif not share_out(entry, eid, e, it) and end_stage(eid, e, q) == 0 then
    finish(eid, e, it, keeps, now_ms)
  end
  wake(eid)
  return 'ok'
end

local function tally(stage, ok, bad)
  local good = redis.call('HINCRBY', P .. 'tally', stage .. '|ok', ok)
  local refused = redis.call('HINCRBY', P .. 'tally', stage .. '|bad', bad)
  if good + refused > 1024 then
    redis.call('HSET', P .. 'tally', stage .. '|ok', math.floor(good / 2), stage .. '|bad', math.floor(refused / 2))
  end
  if good > refused then
    redis.call('HDEL', P .. 'alarms', stage)
  end
end

for index, entry in ipairs(arg.entries) do
  answers[index] = settle(entry)
end
for at = 1, #arg.tally, 3 do
  tally(arg.tally[at], arg.tally[at + 1], arg.tally[at + 2])
end
for at = 1, #arg.alarms, 2 do
  redis.call('HSETNX', P .. 'alarms', arg.alarms[at], arg.alarms[at + 1])
end
redis.call('HSET', P .. 'progress', q, int(now_ms))
for name, n in pairs(arg.counts) do
  count(bounded(name, 'other'), n)
end
write_counts(now_ms)
return answers
