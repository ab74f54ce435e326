"""Voices of Cartesia."""
