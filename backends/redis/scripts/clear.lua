-- Note in one shard of the directory that nothing older than the entry is left in other partitions.
-- KEYS: entries    ARGV, two for each op: id, stamp
for at = 1, #ARGV, 2 do
  local entry = redis.call('HGET', KEYS[1], ARGV[at])
  if entry and string.sub(entry, 1, 20) == ARGV[at + 1] then
    local kept, elsewhere = string.match(entry, '^(.* )(%S+)$')
    local done = {}
    for name in string.gmatch(elsewhere, '[^,]+') do
      done[#done + 1] = name == '-' and name or '~' .. string.gsub(name, '^~', '')
    end
    redis.call('HSET', KEYS[1], ARGV[at], kept .. table.concat(done, ','))
  end
end
return #ARGV / 2
