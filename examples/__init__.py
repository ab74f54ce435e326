"""Handlers to begin with. The docstring of each says how it is run and called."""
