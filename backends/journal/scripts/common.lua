-- Shared by all scripts of the journal; each script is this text followed by its own.
-- KEYS[1] is '{mrj}:', the prefix (and the one slot) of every key of the journal.
--
-- e:<eid>          hash, an envelope without its body. eid is its first version.
--                  ns src q(ueue) d(rivers) n sl(ices) sz (bytes) at(ms) open fin(ms), tp (where its requests are traced, until it has ended), of a replay vs (its versions)
--                  and fd (the drivers that had given them up), and for
--                  each stage <q>: s:<q> state (w waiting, l leased, r retry)  k:<q> lease token  a:<q> attempts
--                  g:<q> how many envelopes the lease was over  c:<q> how many a claim may hold, once one ran out
--                  m:<q> how many memories a claim may try, once one ran out that held this envelope alone
--                  z:<q> leases that ran out over a single memory
--                  and for each driver: o:<driver> outcomes, x:<driver> errors, p:<driver> tries for single memories
--                  (pk:<driver> what the driver had taken by then);
--                  t:<driver> '<ms>,<ms>', from when to when it last worked on it;  cl: ms of the first claim;
--                  part: some outcomes are there, others not yet
--                  del: which of its writes are deletes, as 'first position:number,...'; not there in a replay, nor in what an
--                  earlier release has accepted: nobody knows then
--                  over: JSON [version, the one noted before it of the same id, ...] of its writes that found one, until it
--                  has ended with nothing canceled
-- b:<eid> v:<eid>  its writes; its vectors, once a driver has to be served later. Opaque bytes. The vectors' space is vp.
-- open             zset of envelopes with an open stage, by eid
-- due              zset '<eid>/<q>' -> ms: every open stage, scored by what happens next
-- w:<q>            list of namespaces with waiting envelopes, in rotation
-- w:<q>:<ns>       list of waiting envelopes
-- waiting          hash q -> number of waiting envelopes;  since: hash q -> ms since when some wait;
--                  progress: hash q -> ms of its last settle;  workers: hash of each one's last sign of life
-- backlog          hash 'ns|src|driver' and 'driver' -> memories accepted and not applied yet;
--                  'store.<driver>' -> those of them that it was asked to take and did not
-- use              hash 'bytes', 'memories', 'bytes|ns', 'memories|ns': what the journal holds; rate:<ns> a token bucket
-- acct             hash 'ns|src|driver|accepted', 'ns|src|driver|<letter>': memories, for ever. The letters of outcomes:
--                  a applied, s superseded, f failed, n not: it was detached, c canceled
-- scopes           set 'ns|src' of everything that was ever accepted
-- envs:<ns>        zset of envelopes that jobs can be read from; gone: when each leaves it
-- bad:<ns>         zset of those of them that ended with anything else than stored, or did once
-- canceled:<ns|src> zset first version -> '<first>:<number>': versions that were canceled, the last CANCELED_KEPT ranges
-- wt:<eid>         set of channels to wake;  deletes: a channel, 'ns|src' for each envelope with deletes
-- st:<ns|src>      zset version -> '<version> <filter>': scoped tombstones
-- stp:<ns|src|driver>  zset version -> ms until which reads hide what it covers; inf until the driver has applied it
-- lag:<ns|src|driver>  hash id -> '<version> <user digest, or d for a delete>': accepted, not applied; lagc:…:<10 s>: cleared
-- last:<ns|src>    hash id -> its last accepted version, of envelopes that ask for that (noted in e:<eid>: JSON [id, ...] of
--                  all its writes), until a minute after every driver has ended it
-- dl:<version>     hash, a dead letter; dls:<ns> zset of them; dlc:<ns> hash cause -> number
-- tally            hash '<stage>|ok', '<stage>|bad';  alarms: hash stage -> why its refusals are held back
-- recheck          zset 'ns|src|driver|id' -> ms when to compare it; taken:<driver> the same -> ms when it was written,
--                  of drivers that may lose the last of what they took
-- hurry            how many more single writes find bulk work paced: HURRY of them for each that waited for a worker for
--                  longer than WAIT_MS; gone HURRY_MS after the last
-- detached         hash driver -> 'away' or 'syncing';  skipped:<driver>: hash 'ns|src' -> first version it has not
-- held             set of drivers that an operator has taken out: away although they answer
-- members:<src>    hash driver -> 'whole', 'away', 'syncing' or 'retired', of this source alone; skipped:<src|driver> as above.
--                  Not there: nothing is known yet, and every driver that an envelope names has everything
-- spaces:<src>     hash: active, building, old (to be dropped), each a space in JSON; epoch, at (ms) of the last change; error
-- built:<src>      hash 'ns|src|driver' -> how far that is built: a cursor, or 'whole';  apis: hash of what each API knows
-- emptied          set of 'src|driver': what it has of the source is removed before it is filled
-- joined           hash 'src|driver' -> last version before it became a member of a source that had memories already
-- first            hash src -> the member that comes first, whatever the settings say
-- key:<id>         hash, an API key: digest ns scopes name at(ms) used(ms); gone when it expires. keys:<ns> zset of ids by
--                  at;  keyed: set of namespaces with keys;  locked: there from the first key on
-- used             hash 'memories|ns', 'bytes|ns', 'tokens|ns': accepted, and embedded, for ever
-- minute:<ns>:<m>  hash of what happened in one minute since 1970: a(ccepted), s(tored), f (given up), and t<ms> how many of
--                  the stored could be found within so many ms (rates.py); minutes: zset of these keys, oldest out first
-- totals           hash of what ever happened, for the metrics (totals.py): no namespace in its names
local P = KEYS[1]
local LINGER_MS = 20000
local WAIT_MS = 8
local HURRY = 100
local HURRY_MS = 10000
local KEEP_NOTED_MS = 60000
local CANCELED_KEPT = 100000
local KEEP_MINUTES = 1440
local MOST_MINUTES = 100000

local function int(number)
  return string.format('%.0f', number)
end

local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

local function wait(eid, q, ns, front)
  local list = P .. 'w:' .. q .. ':' .. ns
  local length = redis.call(front and 'LPUSH' or 'RPUSH', list, eid)
  if length == 1 then
    redis.call('RPUSH', P .. 'w:' .. q, ns)
  end
  redis.call('HINCRBY', P .. 'waiting', q, 1)
  redis.call('HSET', P .. 'e:' .. eid, 's:' .. q, 'w')
end

local function use(ns, memories, bytes)
  redis.call('HINCRBY', P .. 'use', 'memories', memories)
  redis.call('HINCRBY', P .. 'use', 'memories|' .. ns, memories)
  redis.call('HINCRBY', P .. 'use', 'bytes', bytes)
  redis.call('HINCRBY', P .. 'use', 'bytes|' .. ns, bytes)
end

-- '' for a driver that has everything of a source; else 'away', 'syncing', 'retired', or 'absent' for one that is no member.
local function standing(src, driver)
  local own = redis.call('HGET', P .. 'members:' .. src, driver)
  if own == 'retired' then
    return own
  end
  if not own and redis.call('EXISTS', P .. 'members:' .. src) == 1 then
    return 'absent'
  end
  local everywhere = redis.call('HGET', P .. 'detached', driver)
  if own == 'away' or everywhere == 'away' then
    return 'away'
  end
  return (own == 'syncing' or everywhere == 'syncing') and 'syncing' or ''
end

-- Changes whenever what is written of a source has to go to another space.
local function epoch(src)
  return redis.call('HGET', P .. 'spaces:' .. src, 'epoch') or '0'
end

-- Calls 'each' with every letter of one driver's outcomes and how many there are.
local function letters(outcomes, n, each)
  if #outcomes == 1 then
    each(outcomes, n)
    return
  end
  for _, letter in ipairs({ 'a', 's', 'f', 'n', 'c' }) do
    local _, found = string.gsub(outcomes, letter, '')
    if found > 0 then
      each(letter, found)
    end
  end
end

-- Counts the letters of one driver's outcomes, times sign.
local function account(place, outcomes, n, sign)
  letters(outcomes, n, function(letter, found)
    redis.call('HINCRBY', P .. 'acct', place .. '|' .. letter, int(sign * found))
  end)
end

-- What is stored everywhere is read from the stores, as soon as nobody can have looked before that any more.
local function forget_noted(eid, e, place, noted)
  local ids, ended, first = cjson.decode(noted), {}, tonumber(eid)
  for at, last in ipairs(redis.call('HMGET', P .. 'last:' .. place, unpack(ids))) do
    if last == int(first + at - 1) then
      ended[#ended + 1] = ids[at]
    end
  end
  if #ended > 0 then
    redis.call('HPEXPIRE', P .. 'last:' .. place, KEEP_NOTED_MS, 'FIELDS', #ended, unpack(ended))
  end
  redis.call('HDEL', e, 'noted')
end

-- The last stage of an envelope has ended; 'it' has its ns, src, drivers and n, 'keeps' the milliseconds that are kept
-- its body, and itself when all is well or when not.
local function finish(eid, e, it, keeps, now_ms)
  local well, canceled = true, false
  for driver in string.gmatch(it.drivers, '[^,]+') do
    local outcomes = redis.call('HGET', e, 'o:' .. driver) or ''
    well = well and not string.find(outcomes, '[fnc]')
    canceled = canceled or string.find(outcomes, 'c', 1, true)
  end
  local keep = well and keeps.ok or keeps.failed
  local size, kept, noted = unpack(redis.call('HMGET', e, 'sz', 'vz', 'noted'))
  use(it.ns, -it.n, -(tonumber(size) + tonumber(kept or 0)))
  redis.call('HSET', e, 'fin', int(now_ms))
  if noted then
    forget_noted(eid, e, it.ns .. '|' .. it.src, noted)
  end
  redis.call('HDEL', e, 'tp', canceled and 'tp' or 'over')
  if not well then
    redis.call('ZADD', P .. 'bad:' .. it.ns, eid, eid)
  end
  redis.call('PEXPIRE', e, keep)
  redis.call('PEXPIRE', P .. 'b:' .. eid, keeps.body)
  redis.call('DEL', P .. 'v:' .. eid)
  redis.call('ZREM', P .. 'open', eid)
  redis.call('ZADD', P .. 'gone', int(now_ms + keep), eid .. '|' .. it.ns)
end

local function end_stage(eid, e, stage)
  redis.call('ZREM', P .. 'due', eid .. '/' .. stage)
  redis.call('HDEL', e, 's:' .. stage, 'k:' .. stage, 'g:' .. stage, 'c:' .. stage, 'm:' .. stage, 'z:' .. stage)
  return redis.call('HINCRBY', e, 'open', -1)
end

local function wake(eid)
  for _, channel in ipairs(redis.call('SMEMBERS', P .. 'wt:' .. eid)) do
    redis.call('PUBLISH', channel, eid)
  end
end

-- Enters an envelope whose body is already at hand; 'fields' are those that only some have.
local function enter(eid, ns, src, q, drivers, n, slices, body, now_ms, check_ms, versions)
  local e = P .. 'e:' .. eid
  redis.call('HSET', e, 'ns', ns, 'src', src, 'q', q, 'd', drivers, 'n', n, 'sl', slices,
    'sz', #body, 'at', int(now_ms), 'open', 1)
  if versions then
    redis.call('HSET', e, 'vs', versions)
  end
  redis.call('SET', P .. 'b:' .. eid, body)
  redis.call('ZADD', P .. 'due', int(now_ms + check_ms), eid .. '/' .. q)
  redis.call('ZADD', P .. 'open', eid, eid)
  redis.call('ZADD', P .. 'envs:' .. ns, eid, eid)
  for driver in string.gmatch(drivers, '[^,]+') do
    redis.call('HINCRBY', P .. 'backlog', ns .. '|' .. src .. '|' .. driver, n)
    redis.call('HINCRBY', P .. 'backlog', driver, n)
  end
  use(ns, n, #body)
  wait(eid, q, ns, false)
end

-- What this call counts is summed up here, and written once at its end.
local minutes, totals = {}, {}

local function count(name, n)
  totals[name] = (totals[name] or 0) + n
end

local function count_minute(ns, field, n)
  minutes[ns] = minutes[ns] or {}
  minutes[ns][field] = (minutes[ns][field] or 0) + n
end

-- A minute of a namespace is about to be counted for the first time: those too old go, and the oldest beyond the bound.
local function enter_minute(key, minute)
  redis.call('EXPIRE', key, 60 * KEEP_MINUTES)
  redis.call('ZADD', P .. 'minutes', minute, key)
  redis.call('ZREMRANGEBYSCORE', P .. 'minutes', '-inf', minute - KEEP_MINUTES - 1)
  local over = math.min(redis.call('ZCARD', P .. 'minutes') - MOST_MINUTES, 100)
  local popped = over > 0 and redis.call('ZPOPMIN', P .. 'minutes', over) or {}
  for at = 1, #popped, 2 do
    redis.call('DEL', popped[at])
  end
end

local function write_counts(now_ms)
  for name, n in pairs(totals) do
    redis.call('HINCRBY', P .. 'totals', name, int(n))
  end
  local minute = math.floor(now_ms / 60000)
  for ns, fields in pairs(minutes) do
    local key = P .. 'minute:' .. ns .. ':' .. int(minute)
    local known = redis.call('EXISTS', key) == 1
    for field, n in pairs(fields) do
      redis.call('HINCRBY', key, field, int(n))
    end
    if not known then
      enter_minute(key, minute)
    end
  end
end
