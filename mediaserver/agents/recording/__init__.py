"""Record a stream to files, both sides on one timeline."""
