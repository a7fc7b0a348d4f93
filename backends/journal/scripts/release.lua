-- Gives back what is held under a token, or holds it longer. ARGV: token, lease_ms (0: give back), names...
-- Returns how many were still the token's.
local token, lease_ms = ARGV[1], tonumber(ARGV[2])
local held = 0
for at = 3, #ARGV do
  local key = P .. 'lk:' .. ARGV[at]
  if redis.call('GET', key) == token then
    held = held + 1
    if lease_ms > 0 then
      redis.call('PEXPIRE', key, lease_ms)
    else
      redis.call('DEL', key)
    end
  end
end
return held
