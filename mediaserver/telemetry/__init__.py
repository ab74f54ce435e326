"""Metrics, read from the counters that the other parts keep, and logs."""
