"""The error that this package raises."""


class AudioError(ValueError):
    """Invalid audio, or a format that this package does not support.

    The message says what was given and what is allowed.
    """


def shown(value: object, limit: int = 60) -> str:
    """Return ``repr(value)`` for an error message, cut to ``limit`` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
