"""Decide whom to trust: proxies, stream tokens, Plivo's signatures."""
