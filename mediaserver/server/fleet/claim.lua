-- Registers a call and takes its places, unless a limit is reached; returns the limit's name then.
-- ARGV: start of the names, member, call, note, limit of the account, limit of the route (0: none)

local start, member, call, note = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most, most_of_route = tonumber(ARGV[5]), tonumber(ARGV[6])
local calls, route = start .. 'calls', route_of(note)

if most > 0 and redis.call('HEXISTS', calls, call) == 0 and redis.call('HLEN', calls) >= most then
  return 'account'
end
if most_of_route > 0 and route ~= '' then
  local key = start .. 'route:' .. route
  if redis.call('SISMEMBER', key, call) == 0 and redis.call('SCARD', key) >= most_of_route then
    return 'route'
  end
end
redis.call('ZADD', start .. 'members', 'NX', now(), member)
take(start, member, call, note)
return ''
