-- Says that a member lives, and which calls it has; whatever Redis has lost is there again after it.
-- Then removes the members that have not beaten for too long, and marks their calls as lost.
-- ARGV: start of the names, member, what it says of itself, number of its last claim, milliseconds
-- after which a member is lost, seconds for which a lost call is remembered, seconds for which it is
-- listed; then each call and note
-- Returns what every member says of itself, and of each lost member: its name, what it said, its calls.

local start, member, last = ARGV[1], ARGV[2], tonumber(ARGV[4])
local members, about, calls = start .. 'members', start .. 'about', start .. 'calls'
local held = start .. 'held:' .. member
local at = now()

redis.call('ZADD', members, at, member)
redis.call('HSET', about, member, ARGV[3])

local has = {}
for i = 8, #ARGV, 2 do has[ARGV[i]] = ARGV[i + 1] end
local known = redis.call('HGETALL', held)
for i = 1, #known, 2 do
  local call, note = known[i], known[i + 1]
  if not has[call] and tonumber(string.match(note, '^%d+')) <= last then
    free(start, member, call, note)
  end
end
for call, note in pairs(has) do
  local owner = redis.call('HGET', calls, call)
  local takes = not owner or owner == member
  if not takes and string.find(note, ' live ', 1, true) then
    -- A call that is live here has only been kept for there, or has left from there.
    local there = redis.call('HGET', start .. 'held:' .. owner, call)
    takes = not there or not string.find(there, ' live ', 1, true)
  end
  if takes then take(start, member, call, note) end
end

local lost = {}
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', members, '-inf', at - tonumber(ARGV[5]))) do
  local said = redis.call('HGET', about, dead) or ''
  local freed = remove(start, dead)
  for _, call in ipairs(freed) do
    redis.call('SET', start .. 'lost:' .. call, dead, 'EX', ARGV[6])
    redis.call('ZADD', start .. 'lost', at, call)
  end
  lost[#lost + 1] = {dead, said, freed}
end
redis.call('ZREMRANGEBYSCORE', start .. 'lost', '-inf', at - tonumber(ARGV[7]) * 1000)
return {redis.call('HGETALL', about), lost}
