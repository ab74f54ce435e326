"""The wire of calls, kept in files: the messages of both sides, and what was decided."""
