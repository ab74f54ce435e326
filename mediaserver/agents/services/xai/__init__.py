"""xAI: its voice agent as a speech-to-speech model."""
