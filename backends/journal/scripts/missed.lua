-- A driver that is away has what a pass of another could not get from it, and lacks what that did: its own pass is to
-- begin no later. ARGV: driver, 'ns|src', version. Returns 1 if it is away.
local driver, place, version = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', P .. 'detached', driver) ~= 'away' then
  return 0
end
local known = redis.call('HGET', P .. 'skipped:' .. driver, place)
if not known or tonumber(version) < tonumber(known) then
  redis.call('HSET', P .. 'skipped:' .. driver, place, version)
end
return 1
