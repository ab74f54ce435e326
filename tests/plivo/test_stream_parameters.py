"""All who ask for a stream, and all who are asked, say the same of each parameter."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from pydantic import TypeAdapter

from mediaserver.plivo import StreamRequest, xml
from mediaserver.plivo.stream_parameters import STREAM_PARAMETERS
from mediaserver.sandbox.api.body import Lenient


URL = "wss://voice.example.com/stream"
CAMEL = {
    "bidirectional": "bidirectional",
    "audio_track": "audioTrack",
    "stream_timeout": "streamTimeout",
    "status_callback_url": "statusCallbackUrl",
    "status_callback_method": "statusCallbackMethod",
    "content_type": "contentType",
    "extra_headers": "extraHeaders",
    "keep_call_alive": "keepCallAlive",
    "noise_cancellation": "noiseCancellation",
    "noise_cancellation_level": "noiseCancellationLevel",
}


def by_request(**parameters: Any) -> StreamRequest:
    return StreamRequest(service_url=URL, **parameters)


def by_api(**parameters: Any) -> StreamRequest:
    lenient: Any = Lenient[StreamRequest]
    return TypeAdapter[StreamRequest](lenient).validate_python({"service_url": URL} | parameters)


def by_element(**parameters: Any) -> xml.Stream:
    return xml.Stream(URL, **parameters)


def by_document(**parameters: Any) -> xml.Stream:
    attributes = "".join(
        f" {CAMEL[name]}={quoteattr(str(value))}" for name, value in parameters.items()
    )
    (stream,) = xml.parse_response(
        f"<Response><Stream{attributes}>{URL}</Stream></Response>"
    ).elements
    assert isinstance(stream, xml.Stream)
    return stream


ASKED = (by_request, by_api, by_element, by_document)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("bidirectional", "true", True),
        ("bidirectional", "TRUE", True),
        ("bidirectional", False, False),
        ("bidirectional", "", None),
        ("audio_track", "Both", "both"),
        ("audio_track", "", None),
        ("stream_timeout", 60, 60),
        ("stream_timeout", "86400", 86_400),
        ("stream_timeout", "", None),
        ("status_callback_url", "http://h.example/s", "http://h.example/s"),
        ("status_callback_url", " ", None),
        ("status_callback_method", "get", "GET"),
        ("status_callback_method", "", None),
        ("content_type", "audio/x-mulaw;rate=8000", "audio/x-mulaw;rate=8000"),
        ("content_type", "audio/x-l16; rate=24000", "audio/x-l16;rate=24000"),
        ("content_type", "", None),
        ("extra_headers", "agent=7,team=X", "agent=7,team=X"),
        ("extra_headers", "", None),
        ("noise_cancellation", True, True),
        ("noise_cancellation", "True", True),
        ("noise_cancellation", "FALSE", False),
        ("noise_cancellation", "", None),
        ("noise_cancellation_level", 60, 60),
        ("noise_cancellation_level", "100", 100),
        ("noise_cancellation_level", "", None),
    ],
)
def test_all_accept_a_value_and_read_it_alike(name: str, value: Any, read: Any) -> None:
    assert [getattr(ask(**{name: value}), name) for ask in ASKED] == [read] * len(ASKED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bidirectional", "yes"),
        ("bidirectional", 1),
        ("audio_track", "left"),
        ("stream_timeout", 0),
        ("stream_timeout", 86_401),
        ("stream_timeout", 1.5),
        ("stream_timeout", "soon"),
        ("status_callback_url", "wss://h.example/"),
        ("status_callback_url", "/status"),
        ("status_callback_method", "PUT"),
        ("content_type", "audio/x-mulaw"),
        ("content_type", "audio/x-l16"),
        ("content_type", "audio/x-l16;rate=44100"),
        ("content_type", "audio/wav"),
        ("extra_headers", "nope"),
        ("extra_headers", "a=b:c"),
        ("extra_headers", "a=b=c"),
        ("extra_headers", "a=1, b=2"),
        ("extra_headers", "a=" + "b" * 511),
        ("noise_cancellation", "on"),
        ("noise_cancellation", 0),
        ("noise_cancellation_level", 59),
        ("noise_cancellation_level", 101),
    ],
)
def test_all_refuse_a_value_in_the_same_words(name: str, value: Any) -> None:
    said = []
    for ask in ASKED:
        with pytest.raises(ValueError, match="must") as refused:
            ask(**{name: value})
        said.append(str(refused.value))
    with pytest.raises(ValueError, match="must") as rule:
        STREAM_PARAMETERS[name].read(str(value))
    allowed = str(rule.value).partition(", not ")[0]
    assert [each for each in said if allowed not in each] == []


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("track", ["outbound", "both"])
def test_only_the_callers_voice_is_streamed_both_ways(ask: Any, track: str) -> None:
    with pytest.raises(ValueError, match=f'cannot be "{track}" with bidirectional'):
        ask(bidirectional=True, audio_track=track)
    assert ask(bidirectional=False, audio_track=track).audio_track == track
    assert ask(bidirectional=True, audio_track="inbound").bidirectional


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("noise", [{}, {"noise_cancellation": False}, {"noise_cancellation": ""}])
def test_a_noise_level_without_noise_cancellation_is_ignored_with_a_warning(
    ask: Any, noise: dict[str, Any]
) -> None:
    (warning,) = ask(noise_cancellation_level=70, **noise).warnings
    assert "is ignored, because" in warning
    assert ask(noise_cancellation=True, noise_cancellation_level=70).warnings == ()


def test_the_table_has_every_attribute_of_the_element() -> None:
    assert {name for name, _ in xml.Stream.kinds()} == set(STREAM_PARAMETERS)
    assert set(StreamRequest.model_fields) - {"service_url"} == (
        set(STREAM_PARAMETERS) - {"keep_call_alive"}
    )
