-- Moves what is due back among the waiting; takes nothing out of due.
-- ARGV: token, gate_ms, check_ms, limit
-- Returns false while another sweeper holds the gate, else
-- {moved: {q, eid, ...}, waiting: {q, n, ...}, expired leases, due retries}.
local token, gate_ms, check_ms, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not redis.call('SET', P .. 'sweeping', token, 'NX', 'PX', gate_ms) then
  return false
end
local now_ms = math.floor(clock() / 1000)
local moved, expired, retried = {}, 0, 0
for _, member in ipairs(redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', now_ms, 'LIMIT', 0, limit)) do
  local eid, q = string.match(member, '^(%d+)/(.+)$')
  local e = P .. 'e:' .. eid
  local state, ns = unpack(redis.call('HMGET', e, 's:' .. q, 'ns'))
  redis.call('ZADD', P .. 'due', int(now_ms + check_ms), member)
  if state == 'l' then
    redis.call('HDEL', e, 'k:' .. q)
    local held = tonumber(redis.call('HGET', e, 'g:' .. q) or 1)
    redis.call('HSET', e, 'c:' .. q, math.ceil(held / 4))
    wait(eid, q, ns, true)
    expired = expired + 1
    moved[#moved + 1] = q
    moved[#moved + 1] = eid
  elseif state == 'r' then
    wait(eid, q, ns, false)
    retried = retried + 1
    moved[#moved + 1] = q
    moved[#moved + 1] = eid
  end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', P .. 'gone', '-inf', now_ms, 'LIMIT', 0, limit)) do
  local eid, ns = string.match(member, '^(%d+)|(.*)$')
  redis.call('ZREM', P .. 'envs:' .. ns, eid)
  redis.call('ZREM', P .. 'gone', member)
end
return { moved, redis.call('HGETALL', P .. 'waiting'), expired, retried }
