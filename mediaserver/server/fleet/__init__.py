"""The fleet: the processes of many machines that serve the same calls, joined by Redis."""
