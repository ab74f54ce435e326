-- Gives the places of calls back, if their member has not claimed them anew meanwhile.
-- ARGV: start of the names, member, number of the last claim, calls

local start, member, last = ARGV[1], ARGV[2], tonumber(ARGV[3])
local freed = 0
for i = 4, #ARGV do
  local note = redis.call('HGET', start .. 'held:' .. member, ARGV[i])
  if note and tonumber(string.match(note, '^%d+')) <= last then
    freed = freed + free(start, member, ARGV[i], note)
  end
end
return freed
