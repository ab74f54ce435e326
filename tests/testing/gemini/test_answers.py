from mediaserver.testing.gemini import GeminiToolCall, answers, refuses


def test_an_answer_is_streamed_in_events_with_its_end_last() -> None:
    reply = answers("Hello.", calls=[GeminiToolCall("look", signature="c2ln")], why="done")
    first, call, last = (bytes(piece) for piece in reply.body if isinstance(piece, bytes))
    assert b"Hello." in first
    assert b'"thoughtSignature": "c2ln"' in call
    assert b'"finishReason": "STOP", "finishMessage": "done"' in last


def test_an_error_is_worded_as_googles() -> None:
    reply = refuses(429, "slow", "RESOURCE_EXHAUSTED")
    assert reply.body == [
        b'{"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}'
    ]
