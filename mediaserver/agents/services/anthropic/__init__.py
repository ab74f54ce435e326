"""Anthropic: its models as language models."""
