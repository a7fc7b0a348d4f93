-- Moves what is due back among the waiting; takes nothing out of due.
-- ARGV: token, gate_ms, check_ms, limit, kept
-- Returns false while another sweeper holds the gate, else
-- {moved: {q, eid, ...}, waiting: {q, n, ...}, expired leases, due retries}.
local token, gate_ms, check_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local limit, kept = tonumber(ARGV[4]), tonumber(ARGV[5])
if not redis.call('SET', P .. 'sweeping', token, 'NX', 'PX', gate_ms) then
  return false
end
local now_ms = math.floor(clock() / 1000)
local moved, expired, retried = {}, 0, 0

-- What is claimed next is a part of what was held now: of the envelopes, then of the memories of one.
local function suspect(e, q)
  redis.call('HDEL', e, 'k:' .. q)
  local held = tonumber(redis.call('HGET', e, 'g:' .. q) or 1)
  redis.call('HSET', e, 'c:' .. q, math.ceil(held / 4))
  if held > 1 then
    return
  end
  local most, n = unpack(redis.call('HMGET', e, 'm:' .. q, 'n'))
  if most == '1' then
    redis.call('HINCRBY', e, 'z:' .. q, 1)
  else
    redis.call('HSET', e, 'm:' .. q, math.max(1, math.floor(tonumber(most or n) / 2)))
  end
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', now_ms, 'LIMIT', 0, limit)) do
  local eid, q = string.match(member, '^(%d+)/(.+)$')
  local e = P .. 'e:' .. eid
  local state, ns = unpack(redis.call('HMGET', e, 's:' .. q, 'ns'))
  redis.call('ZADD', P .. 'due', int(now_ms + check_ms), member)
  if state == 'l' then
    suspect(e, q)
    wait(eid, q, ns, true)
    expired = expired + 1
  elseif state == 'r' then
    wait(eid, q, ns, false)
    retried = retried + 1
  end
  if state ~= 'w' then
    moved[#moved + 1] = q
    moved[#moved + 1] = eid
  end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', P .. 'gone', '-inf', now_ms, 'LIMIT', 0, limit)) do
  local eid, ns = string.match(member, '^(%d+)|(.*)$')
  redis.call('ZREM', P .. 'envs:' .. ns, eid)
  redis.call('ZREM', P .. 'bad:' .. ns, eid)
  redis.call('ZREM', P .. 'gone', member)
end
-- What has ended is kept for its jobs, but no more of it than 'kept'; what would leave first goes first.
local over = math.min(redis.call('ZCARD', P .. 'gone') - kept, limit)
for _, member in ipairs(over > 0 and redis.call('ZRANGE', P .. 'gone', 0, over - 1) or {}) do
  local eid, ns = string.match(member, '^(%d+)|(.*)$')
  redis.call('DEL', P .. 'e:' .. eid, P .. 'b:' .. eid)
  redis.call('ZREM', P .. 'envs:' .. ns, eid)
  redis.call('ZREM', P .. 'bad:' .. ns, eid)
  redis.call('ZREM', P .. 'gone', member)
end
for _, q in ipairs(redis.call('HKEYS', P .. 'waiting')) do
  if tonumber(redis.call('HGET', P .. 'waiting', q)) > 0 then
    redis.call('HSETNX', P .. 'since', q, int(now_ms))
  else
    redis.call('HDEL', P .. 'since', q)
  end
end
if expired > 0 then
  count('leases', expired)
end
write_counts(now_ms)
return { moved, redis.call('HGETALL', P .. 'waiting'), expired, retried }
