"""Gemini: its Live API as a speech-to-speech model, and its models as language models."""
