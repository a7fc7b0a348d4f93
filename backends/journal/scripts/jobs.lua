-- Envelopes that jobs with a status can be read from, the newest first. Reads only.
-- ARGV: ns, highest version, lowest version, class, most answers, most looked at. The classes: 'new' (open, never claimed),
-- 'waiting' (of these what can be canceled), 'begun' (open, and claimed or not alone in its job), 'bad' (ended, and not with
-- stored alone), 'ended', 'all'.
-- Returns {eid of the last one that was looked at, or '' if there are no more, eid, ...}.
local ns, top, bottom, class, most, looked_at = unpack(ARGV)
local eids = redis.call('ZREVRANGEBYSCORE', P .. 'envs:' .. ns, top, bottom, 'LIMIT', 0, looked_at)

local function is_begun(e)
  local attempts = redis.call('HMGET', e, 'a:deliver.interactive', 'a:deliver.bulk')
  return (attempts[1] or attempts[2] or '0') ~= '0'
end

-- Whether a job began in an envelope before it, or goes on in one behind it.
local function is_part(e)
  local slices, n = unpack(redis.call('HMGET', e, 'sl', 'n'))
  local start, count = string.match(slices, '(%d+):(%d+)$')
  return string.sub(slices, 1, 2) ~= '0:' or start + count > tonumber(n)
end

local function can_be_canceled(e)
  local q, n, deletes = unpack(redis.call('HMGET', e, 'q', 'n', 'del'))
  return deletes and deletes ~= '0:' .. n and redis.call('HEXISTS', e, 'g:' .. q) == 0
end

local function belongs(eid)
  local e = P .. 'e:' .. eid
  if class == 'all' then
    return true
  elseif class == 'bad' then
    return redis.call('ZSCORE', P .. 'bad:' .. ns, eid)
  elseif class == 'ended' then
    return not redis.call('ZSCORE', P .. 'open', eid)
  elseif not redis.call('ZSCORE', P .. 'open', eid) then
    return false
  elseif class == 'waiting' then
    return can_be_canceled(e)
  elseif class == 'new' then
    return not is_begun(e)
  end
  return is_begun(e) or is_part(e)
end

local answer = { '' }
for at, eid in ipairs(eids) do
  if belongs(eid) then
    answer[#answer + 1] = eid
  end
  if #answer > tonumber(most) or (at == #eids and #eids == tonumber(looked_at)) then
    answer[1] = eid
    break
  end
end
return answer
