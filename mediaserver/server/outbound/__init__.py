"""Place calls, and follow each to its outcome."""
