"""What the sandbox remembers of calls, streams and recordings, and what they cost."""
