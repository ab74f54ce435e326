"""Agents by the services that they use, and a service that no extra of this package brings."""
