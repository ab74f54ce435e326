-- Takes a member out of the fleet, with its calls.
-- ARGV: start of the names, member

return #remove(ARGV[1], ARGV[2])
