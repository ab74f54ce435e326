"""What goes wrong in a benchmark."""


class BenchmarkError(RuntimeError):
    """A server or the load failed; the message ends with what it printed."""
