-- Shared by all scripts of the journal; each script is this text followed by its own.
-- KEYS[1] is '{mrj}:', the prefix (and the one slot) of every key of the journal.
--
-- e:<eid>          hash, an envelope without its body. eid is its first version.
--                  ns src q(ueue) d(rivers) n sl(ices) sz at(ms) open fin(ms), and for each stage <q>:
--                  s:<q> state (w waiting, l leased, r retry)  k:<q> lease token  a:<q> attempts
--                  g:<q> how many envelopes the lease was over  c:<q> how many a claim may hold, once one ran out
--                  and for each driver: o:<driver> outcomes, x:<driver> errors
-- b:<eid> v:<eid>  its writes; its vectors, once a driver has to be served later. Opaque bytes.
-- due              zset '<eid>/<q>' -> ms: every open stage, scored by what happens next
-- w:<q>            list of namespaces with waiting envelopes, in rotation
-- w:<q>:<ns>       list of waiting envelopes
-- waiting          hash q -> number of waiting envelopes
-- backlog          hash 'ns|src|driver' -> memories accepted and not applied yet
-- envs:<ns>        zset of envelopes that jobs can be read from; gone: when each leaves it
-- wt:<eid>         set of channels to wake
local P = KEYS[1]

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
