-- Who the members of a source are. ARGV: action, src, drivers...
-- 'enter': the drivers that a process has in its settings. Of a source that nothing is known of they are all whole; later
--   one that was never a member becomes one that has missed everything, unless the source is empty still.
-- 'join': the driver becomes a member in the same way, also one that was retired: what that has is removed first. So it is of
--   another, which is not syncing yet, if the word 'empty' comes behind it.
-- 'retire': the first driver is not a member any more; the second, if there is one, comes first from now on.
-- Returns 1 if something has changed, 0 if not, -1 if the driver is no member, -2 if no other one has everything.
local action, src = ARGV[1], ARGV[2]
local key = P .. 'members:' .. src

-- The API that was told of no delete while it could hear us must not believe what it knew of the source.
local function tell(place)
  redis.call('PUBLISH', P .. 'deletes', place)
end

local function places()
  local found = {}
  for _, place in ipairs(redis.call('SMEMBERS', P .. 'scopes')) do
    if string.match(place, '^.*|(.*)$') == src then
      found[#found + 1] = place
    end
  end
  return found
end

local function add(driver)
  local missed = places()
  redis.call('HSET', key, driver, #missed == 0 and 'whole' or 'away')
  if #missed == 0 then
    return
  end
  redis.call('HSET', P .. 'joined', src .. '|' .. driver, redis.call('GET', P .. 'ver') or '0')
  for _, place in ipairs(missed) do
    redis.call('HSET', P .. 'skipped:' .. src .. '|' .. driver, place, 0)
    tell(place)
  end
end

local function enter_all()
  local changed = 0
  local new = redis.call('EXISTS', key) == 0
  for at = 3, #ARGV do
    if new then
      redis.call('HSET', key, ARGV[at], 'whole')
      changed = 1
    elseif redis.call('HEXISTS', key, ARGV[at]) == 0 then
      add(ARGV[at])
      changed = 1
    end
  end
  if redis.call('HGET', P .. 'first', src) == ARGV[3] then
    redis.call('HDEL', P .. 'first', src)
  end
  return changed
end

local function join(driver, empty)
  local state = redis.call('HGET', key, driver)
  if not state or state == 'retired' then
    add(driver)
  end
  if state == 'retired' or (empty and redis.call('HGET', key, driver) == 'away') then
    redis.call('SADD', P .. 'emptied', src .. '|' .. driver)
  end
  return (not state or state == 'retired') and 1 or 0
end

local function is_member(driver)
  local state = redis.call('HGET', key, driver)
  return state and state ~= 'retired'
end

local function another_is_whole(driver)
  for _, other in ipairs(redis.call('HKEYS', key)) do
    if other ~= driver and standing(src, other) == '' then
      return true
    end
  end
  return false
end

local function forget(driver)
  for _, name in ipairs({ 'skipped:', 'sync:' }) do
    redis.call('DEL', P .. name .. src .. '|' .. driver)
  end
  redis.call('SREM', P .. 'emptied', src .. '|' .. driver)
  if redis.call('HGET', P .. 'first', src) == driver then
    redis.call('HDEL', P .. 'first', src)
  end
end

local function retire(driver, successor)
  if redis.call('HGET', key, driver) == 'retired' then
    return 0
  end
  if not is_member(driver) then
    return -1
  end
  if not another_is_whole(driver) then
    return -2
  end
  redis.call('HSET', key, driver, 'retired')
  forget(driver)
  if successor and standing(src, successor) == '' then
    redis.call('HSET', P .. 'first', src, successor)
  end
  for _, place in ipairs(places()) do
    tell(place)
  end
  return 1
end

if action == 'enter' then
  return enter_all()
elseif action == 'join' then
  return join(ARGV[3], ARGV[4] == 'empty')
end
return retire(ARGV[3], ARGV[4])
