import json

import pytest

from mediaserver.agents.services.cartesia.ink_messages import (
    InkDone,
    InkFailure,
    InkFlushed,
    InkMessage,
    InkTranscript,
    InkTurnEnded,
    InkTurnMayEnd,
    InkTurnResumed,
    InkTurnStarted,
    InkTurnUpdated,
    decode_ink,
)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (
            {"type": "transcript", "text": " you", "is_final": True, "words": []},
            InkTranscript(" you", True),
        ),
        ({"type": "flush_done"}, InkFlushed()),
        ({"type": "turn.start"}, InkTurnStarted()),
        ({"type": "turn.update", "transcript": "Hey"}, InkTurnUpdated("Hey")),
        ({"type": "turn.eager_end", "transcript": "Hey."}, InkTurnMayEnd("Hey.")),
        ({"type": "turn.resume"}, InkTurnResumed()),
        ({"type": "turn.end", "transcript": "Hey."}, InkTurnEnded("Hey.")),
        ({"type": "done"}, InkDone()),
        (
            {"type": "error", "title": "No", "message": "not you", "status_code": 401},
            InkFailure("not you", "No", 401),
        ),
        ({"type": "connected"}, None),
        ({"type": "to come", "text": 7}, None),
    ],
)
def test_messages_are_read(message: dict[str, object], says: InkMessage | None) -> None:
    assert decode_ink(json.dumps({"request_id": "1", **message})) == says


@pytest.mark.parametrize(
    "message", ["{", "{}", '{"type":"transcript","text":"a"}', '{"type":"turn.end"}']
)
def test_what_cannot_be_read_is_an_error(message: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_ink(message)
