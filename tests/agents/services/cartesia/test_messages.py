import json

import pytest

from mediaserver.agents.services.cartesia.messages import CartesiaMessages
from mediaserver.agents.services.context_session import ContextSpeech


MESSAGES = CartesiaMessages({"model_id": "sonic-3"})


def test_every_message_with_text_has_all_fields() -> None:
    every = {"model_id": "sonic-3", "context_id": "a"}
    assert MESSAGES.begin("a") == []
    (text,) = MESSAGES.text("a", "Hi ")
    assert json.loads(text) == {**every, "transcript": "Hi ", "continue": True}
    (flush,) = MESSAGES.flush("a")
    assert json.loads(flush) == {
        **every,
        "transcript": "",
        "continue": True,
        "flush": True,
    }
    (end,) = MESSAGES.end("a")
    assert json.loads(end) == {**every, "transcript": "", "continue": False}


@pytest.mark.parametrize("ended", [False, True])
def test_a_context_is_cancelled_by_its_id(ended: bool) -> None:
    (cancel,) = MESSAGES.cancel("a", ended=ended)
    assert json.loads(cancel) == {"context_id": "a", "cancel": True}
    assert MESSAGES.keep_alive(["a"]) == []


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"type": "chunk", "data": "/w=="}, ContextSpeech("a", audio=b"\xff")),
        (
            {
                "type": "timestamps",
                "word_timestamps": {"words": ["Hi", "you"], "start": [0, 0.3], "end": [0.2, 0.5]},
            },
            ContextSpeech("a", words=[("Hi", 0.2), ("you", 0.5)]),
        ),
        ({"type": "done", "done": True}, ContextSpeech("a", done=True)),
        ({"type": "flush_done", "flush_id": 1}, None),
        ({"type": "timestamps"}, None),
        ({"type": "to come", "some": "field"}, None),
        (
            {"type": "error", "title": "No model", "message": "use another", "status_code": 400},
            ContextSpeech("a", error="No model: use another", status=400),
        ),
        ({"type": "error", "error": "too many"}, ContextSpeech("a", error="too many")),
        ({"type": "error"}, ContextSpeech("a", error="no reason was given")),
    ],
)
def test_messages_are_read(message: dict[str, object], says: ContextSpeech | None) -> None:
    assert MESSAGES.read(json.dumps({"context_id": "a", **message})) == says


@pytest.mark.parametrize("message", ["{", "{}", '{"type": "chunk", "data": "?"}'])
def test_what_cannot_be_read_is_an_error(message: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        MESSAGES.read(message)
