"""Deepgram: Nova and Flux, which recognise speech as it comes, and the voices Aura."""
