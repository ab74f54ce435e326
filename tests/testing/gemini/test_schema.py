import pytest

from mediaserver.testing.gemini.schema import (
    GenerateRequest,
    LiveClientMessage,
    read_closed,
)
from mediaserver.testing.http_server import RefusedError


def test_names_of_fields_may_be_in_either_style_and_the_clients_own_stay() -> None:
    read = read_closed(
        b'{"tool_response":{"function_responses":[{"id":"a","name":"look",'
        b'"response":{"some_key":1}}]}}',
        LiveClientMessage,
    )
    assert read.tool_response is not None
    assert read.tool_response.function_responses[0].response == {"some_key": 1}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b'{"setup":{"model":"models/x","voice":"Puck"}}', "voice"),
        (b'{"realtimeInput":{"audio":{"data":"AAAA","mime":"audio/pcm"}}}', "mime"),
        (b'{"clientContent":{"turns":[{"role":"assistant"}]}}', "Invalid enum value"),
        (b'{"realtimeInput":{"activityStart":true}}', "activityStart"),
        (b"{", "Invalid JSON payload"),
    ],
)
def test_what_the_published_types_do_not_have_is_refused(message: bytes, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        read_closed(message, LiveClientMessage)


def test_a_request_needs_contents() -> None:
    with pytest.raises(RefusedError, match="contents"):
        read_closed(b"{}", GenerateRequest)
