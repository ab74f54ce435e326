"""Reads the plain counters that the other parts keep: metrics and logs."""
