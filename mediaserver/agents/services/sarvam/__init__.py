"""Sarvam: recognition of Indian languages as they are spoken, and the voices Bulbul."""
