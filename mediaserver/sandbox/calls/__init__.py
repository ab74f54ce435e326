"""Calls of the sandbox's account, from dialling to the hangup callback."""
