"""Voices of ElevenLabs."""
