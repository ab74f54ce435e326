"""A captured call again: its carrier plays against a handler, and the two calls are compared.

from mediaserver.replay import replayed

def test_a_call() -> None:
    comparison = replayed("calls/20261130T091500-….wire.zst", MyAgent)
    assert comparison.heard_alike, comparison.difference
"""

from mediaserver.lazy_exports import lazy_exports


__all__ = [
    "CallComparison",
    "CapturedCall",
    "HeardCall",
    "replay",
    "replayed",
]

__getattr__, __dir__ = lazy_exports(
    globals(),
    (
        "mediaserver.replay.captured_call",
        "mediaserver.replay.heard_call",
        "mediaserver.replay.comparison",
        "mediaserver.replay.replaying",
    ),
)
