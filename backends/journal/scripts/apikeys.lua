-- API keys. ARGV[1] is what to do:
--   create id digest ns scopes name expires_ms(0: never) at_most -> ms when it was made, 0 if there are at_most in ns
--   look id used_every_ms -> {digest, ns, scopes, ms left (-1: for ever)} or nil; notes that it was used
--   list ns -> {id, scopes, name, at, used, ms when it expires (-1: never), ...}, oldest first;  namespaces -> those with keys
--   revoke id ns('': any) -> 1, or 0 if there is no such key in it
local now_ms = math.floor(clock() / 1000)

local function key(id)
  return P .. 'key:' .. id
end

-- The ids of a namespace's keys; those that have expired are forgotten.
local function ids(ns)
  local live = {}
  for _, id in ipairs(redis.call('ZRANGE', P .. 'keys:' .. ns, 0, -1)) do
    if redis.call('EXISTS', key(id)) == 1 then
      live[#live + 1] = id
    else
      redis.call('ZREM', P .. 'keys:' .. ns, id)
    end
  end
  if #live == 0 then
    redis.call('SREM', P .. 'keyed', ns)
  end
  return live
end

local actions = {}

function actions.create(id, digest, ns, scopes, name, expires_ms, at_most)
  if #ids(ns) >= tonumber(at_most) then
    return 0
  end
  redis.call('HSET', key(id), 'digest', digest, 'ns', ns, 'scopes', scopes, 'name', name, 'at', int(now_ms))
  if expires_ms ~= '0' then
    redis.call('PEXPIREAT', key(id), expires_ms)
  end
  redis.call('ZADD', P .. 'keys:' .. ns, int(now_ms), id)
  redis.call('SADD', P .. 'keyed', ns)
  redis.call('SET', P .. 'locked', 1)
  return now_ms
end

function actions.look(id, used_every_ms)
  local row = redis.call('HMGET', key(id), 'digest', 'ns', 'scopes', 'used')
  if not row[1] then
    return nil
  end
  if now_ms - tonumber(row[4] or 0) >= tonumber(used_every_ms) then
    redis.call('HSET', key(id), 'used', int(now_ms))
  end
  return { row[1], row[2], row[3], redis.call('PTTL', key(id)) }
end

function actions.list(ns)
  local found = {}
  for _, id in ipairs(ids(ns)) do
    local row = redis.call('HMGET', key(id), 'scopes', 'name', 'at', 'used')
    for _, value in ipairs({ id, row[1], row[2], row[3], row[4] or '', redis.call('PEXPIRETIME', key(id)) }) do
      found[#found + 1] = value
    end
  end
  return found
end

function actions.namespaces()
  local found = redis.call('SMEMBERS', P .. 'keyed')
  table.sort(found)
  return found
end

function actions.revoke(id, ns)
  local owner = redis.call('HGET', key(id), 'ns')
  if not owner or (ns ~= '' and ns ~= owner) then
    return 0
  end
  redis.call('DEL', key(id))
  ids(owner)
  return 1
end

return actions[ARGV[1]](unpack(ARGV, 2))
