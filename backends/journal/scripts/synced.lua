-- What a driver had skipped has come to it by reconcile: its jobs say so. ARGV: ns, src, driver, eids...
local ns, source, driver = ARGV[1], ARGV[2], ARGV[3]
for at = 4, #ARGV do
  local e = P .. 'e:' .. ARGV[at]
  local src, n, outcomes = unpack(redis.call('HMGET', e, 'src', 'n', 'o:' .. driver))
  if src == source and outcomes and string.find(outcomes, 'n', 1, true) then
    local _, skipped = string.gsub(outcomes, 'n', '')
    skipped = #outcomes == 1 and tonumber(n) or skipped
    local place = ns .. '|' .. src .. '|' .. driver
    redis.call('HINCRBY', P .. 'acct', place .. '|n', -skipped)
    redis.call('HINCRBY', P .. 'acct', place .. '|a', skipped)
    redis.call('HSET', e, 'o:' .. driver, (string.gsub(outcomes, 'n', 'a')))
  end
end
return #ARGV - 3
