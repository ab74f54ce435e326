"""Agents that hold a conversation, and the parts they are made of."""
