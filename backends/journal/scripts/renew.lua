-- ARGV: queue, token, lease_ms, eids... Returns how many of the leases are still this token's.
local q, token = ARGV[1], ARGV[2]
local due_ms = int(math.floor(clock() / 1000) + tonumber(ARGV[3]))
local held = 0
for index = 4, #ARGV do
  local eid = ARGV[index]
  if redis.call('HGET', P .. 'e:' .. eid, 'k:' .. q) == token then
    redis.call('ZADD', P .. 'due', 'XX', due_ms, eid .. '/' .. q)
    held = held + 1
  end
end
return held
