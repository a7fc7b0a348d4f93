-- In which space a source is, and which one is built for it. ARGV: action, src, ...
-- 'begin', space, current: a space is built from now on. 'cancel': what is built is given up. 'switch': the space that was built
--   is the source's, if every driver has all of it. 'dropped', space: that is gone from every driver.
-- Returns 1 if it is done; 0 if there is nothing to do (or, for a switch, still something); -1 while another one is built; -2 if
-- the source is in that space already; -3 while the last one is not dropped yet.
local action, src, space, current = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = P .. 'spaces:' .. src
local now_ms = int(math.floor(clock() / 1000))

local function places()
  local found = {}
  for _, place in ipairs(redis.call('SMEMBERS', P .. 'scopes')) do
    if string.match(place, '^.*|(.*)$') == src then
      found[#found + 1] = place
    end
  end
  return found
end

-- Whoever was told of no epoch must not go on by what it knew.
local function turn()
  redis.call('HINCRBY', key, 'epoch', 1)
  redis.call('HSET', key, 'at', now_ms)
  redis.call('HDEL', key, 'error')
  for _, place in ipairs(places()) do
    redis.call('PUBLISH', P .. 'deletes', place)
  end
end

local function begin()
  local known = redis.call('HMGET', key, 'active', 'building', 'old')
  if known[2] then
    return known[2] == space and 0 or -1
  end
  if (known[1] or current) == space then
    return -2
  end
  if known[3] then
    return -3
  end
  redis.call('HSET', key, 'active', known[1] or current, 'building', space)
  redis.call('DEL', P .. 'built:' .. src)
  turn()
  return 1
end

local function retreat()
  local building = redis.call('HGET', key, 'building')
  if not building then
    return 0
  end
  redis.call('HSET', key, 'old', building)
  redis.call('HDEL', key, 'building')
  turn()
  return 1
end

local function is_built()
  for _, driver in ipairs(redis.call('HKEYS', P .. 'members:' .. src)) do
    local state = standing(src, driver)
    if state ~= 'retired' and state ~= '' then
      return false
    end
    for _, place in ipairs(state == '' and places() or {}) do
      if redis.call('HGET', P .. 'built:' .. src, place .. '|' .. driver) ~= 'whole' then
        return false
      end
    end
  end
  return true
end

local function switch()
  local known = redis.call('HMGET', key, 'active', 'building')
  if not known[2] or not is_built() then
    return 0
  end
  redis.call('HSET', key, 'active', known[2], 'old', known[1])
  redis.call('HDEL', key, 'building')
  turn()
  return 1
end

if action == 'begin' then
  return begin()
elseif action == 'cancel' then
  return retreat()
elseif action == 'switch' then
  return switch()
end
if redis.call('HGET', key, 'old') ~= space then
  return 0
end
redis.call('HDEL', key, 'old')
redis.call('DEL', P .. 'built:' .. src)
return 1
