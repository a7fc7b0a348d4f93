-- What the scripts that write to a partition begin with.
local vectors, records, tombstones, times = unpack(KEYS)
local STAMP = '^' .. string.rep('%d', 20)

-- A key of another type is nothing that this driver wrote: it goes.
local function own(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end

local function newer(stamp, held)
  local found = held and string.match(held, STAMP)
  return found and stamp < found and found
end

-- The stamp above ``stamp`` that a record or a tombstone bears, if one does.
local function above(stamp, stored, tombstone)
  return newer(stamp, stored) or newer(stamp, tombstone)
end

own(vectors, 'vectorset')
own(records, 'hash')
own(tombstones, 'hash')
own(times, 'zset')
