"""Fuzzing of the whole server over sockets: see `__main__`."""
