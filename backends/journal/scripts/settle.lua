-- Ends stages, or sets them down for later. Only the holder of the lease may.
-- ARGV: msgpack {token, queue, keep_body_ms, keep_ok_ms, keep_failed_ms, entries: [
--   {eid, again_ms (-1: no), refund, vectors, results: [{driver, outcomes, errors, later_ms (-1: done), refund}]}]}
-- then the vectors: 'vectors' is an index into ARGV. Returns for each entry 'ok' or 'lost'.
local arg = cmsgpack.unpack(ARGV[1])
local q = arg.queue
local now_ms = math.floor(clock() / 1000)
local answers = {}

local function set_down(eid, stage, later_ms, refund)
  local e = P .. 'e:' .. eid
  redis.call('HSET', e, 's:' .. stage, 'r')
  redis.call('HDEL', e, 'k:' .. stage)
  if refund then
    redis.call('HINCRBY', e, 'a:' .. stage, -1)
  end
  redis.call('ZADD', P .. 'due', int(now_ms + later_ms), eid .. '/' .. stage)
end

local function finish(eid, e, ns)
  local failed = false
  for driver in string.gmatch(redis.call('HGET', e, 'd'), '[^,]+') do
    failed = failed or string.find(redis.call('HGET', e, 'o:' .. driver) or '', 'f', 1, true) ~= nil
  end
  local keep = failed and arg.keep_failed_ms or arg.keep_ok_ms
  redis.call('HSET', e, 'fin', int(now_ms))
  redis.call('PEXPIRE', e, keep)
  redis.call('PEXPIRE', P .. 'b:' .. eid, arg.keep_body_ms)
  redis.call('DEL', P .. 'v:' .. eid)
  redis.call('ZADD', P .. 'gone', int(now_ms + keep), eid .. '|' .. ns)
end

local function end_stage(eid, e, stage)
  redis.call('ZREM', P .. 'due', eid .. '/' .. stage)
  redis.call('HDEL', e, 's:' .. stage, 'k:' .. stage, 'g:' .. stage, 'c:' .. stage)
  return redis.call('HINCRBY', e, 'open', -1)
end

local function settle(entry)
  local eid = entry.eid
  local e = P .. 'e:' .. eid
  if redis.call('HGET', e, 'k:' .. q) ~= arg.token then
    return 'lost'
  end
  if entry.again_ms >= 0 then
    set_down(eid, q, entry.again_ms, entry.refund)
    return 'ok'
  end
  local ns, source = unpack(redis.call('HMGET', e, 'ns', 'src'))
  local n = tonumber(redis.call('HGET', e, 'n'))
  for _, result in ipairs(entry.results) do
    local stage = 'store.' .. result.driver
    if result.later_ms < 0 then
      redis.call('HSET', e, 'o:' .. result.driver, result.outcomes, 'x:' .. result.driver, result.errors)
      redis.call('HINCRBY', P .. 'backlog', ns .. '|' .. source .. '|' .. result.driver, -n)
    else
      redis.call('HINCRBY', e, 'open', 1)
      if entry.vectors > 0 then
        redis.call('SET', P .. 'v:' .. eid, ARGV[entry.vectors])
      end
      set_down(eid, stage, result.later_ms, false)
    end
  end
  if end_stage(eid, e, q) == 0 then
    finish(eid, e, ns)
  end
  for _, channel in ipairs(redis.call('SMEMBERS', P .. 'wt:' .. eid)) do
    redis.call('PUBLISH', channel, eid)
  end
  return 'ok'
end

for index, entry in ipairs(arg.entries) do
  answers[index] = settle(entry)
end
return answers
