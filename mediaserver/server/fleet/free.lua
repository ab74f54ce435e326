-- Shared by the scripts. What a member holds of a call is a text: the number of the claim, "live" or
-- "kept", and the route, which may be empty.

local function route_of(note)
  return string.match(note, '^%d+ %a+ (.*)$')
end

local function free(start, member, call, note)
  redis.call('HDEL', start .. 'held:' .. member, call)
  if redis.call('HGET', start .. 'calls', call) == member then
    redis.call('HDEL', start .. 'calls', call)
    local route = route_of(note)
    if route ~= '' then redis.call('SREM', start .. 'route:' .. route, call) end
    return 1
  end
  return 0
end

local function take(start, member, call, note)
  local calls = start .. 'calls'
  local owner = redis.call('HGET', calls, call)
  if owner and owner ~= member then
    local former = redis.call('HGET', start .. 'held:' .. owner, call)
    if former then free(start, owner, call, former) end
  elseif owner then
    local former = redis.call('HGET', start .. 'held:' .. member, call)
    if former and route_of(former) ~= route_of(note) then free(start, member, call, former) end
  end
  redis.call('HSET', calls, call, member)
  redis.call('HSET', start .. 'held:' .. member, call, note)
  local route = route_of(note)
  if route ~= '' then redis.call('SADD', start .. 'route:' .. route, call) end
  if redis.call('DEL', start .. 'lost:' .. call) == 1 then redis.call('ZREM', start .. 'lost', call) end
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function remove(start, member)
  local held = redis.call('HGETALL', start .. 'held:' .. member)
  local freed = {}
  for i = 1, #held, 2 do
    if free(start, member, held[i], held[i + 1]) == 1 then freed[#freed + 1] = held[i] end
  end
  redis.call('DEL', start .. 'held:' .. member)
  redis.call('HDEL', start .. 'about', member)
  redis.call('ZREM', start .. 'members', member)
  return freed
end
