import base64
import json
from typing import Any

import pytest

from audiocodecs import L16_8K, MULAW_8K
from mediaserver.captures.capture_lines import CaptureHead
from mediaserver.captures.wire_redaction import REDACTABLE, WireRedaction


PAYLOAD = base64.b64encode(bytes(range(160))).decode()
START = {
    "event": "start",
    "start": {
        "callId": "c",
        "streamId": "s",
        "mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 8000},
    },
    "extra_headers": "{X-PH-account: 17}",
}
MEDIA = {"event": "media", "media": {"track": "inbound", "payload": PAYLOAD}}
PLAY = {"event": "playAudio", "media": {"payload": PAYLOAD}}


def redacted(names: Any, side: Any, *messages: Any) -> Any:
    redaction = WireRedaction(names, MULAW_8K)
    for message in messages:
        result = redaction.message(side, json.dumps(message).encode())
    return json.loads(result)


def test_without_names_messages_stay_as_they_are() -> None:
    assert WireRedaction((), MULAW_8K).message("<", b"nonsense") == b"nonsense"


@pytest.mark.parametrize(
    ("name", "side", "message"), [("caller-audio", "<", MEDIA), ("agent-audio", ">", PLAY)]
)
def test_audio_becomes_silence_of_the_same_length(name: str, side: str, message: Any) -> None:
    silence = base64.b64encode(b"\xff" * 160).decode()
    assert redacted([name], side, message) == {
        **message,
        "media": {**message["media"], "payload": silence},
    }


def test_silence_is_that_of_the_streams_format() -> None:
    silent = redacted(["caller-audio"], "<", START, MEDIA)
    assert base64.b64decode(silent["media"]["payload"]) == bytes(160)
    assert L16_8K.silence == bytes(2)


def test_the_other_sides_audio_stays() -> None:
    assert redacted(["caller-audio"], ">", PLAY) == PLAY
    assert redacted(["agent-audio"], "<", MEDIA) == MEDIA


@pytest.mark.parametrize("payload", [None, 17, "not base64!"])
def test_a_payload_that_cannot_be_read_is_taken_out(payload: Any) -> None:
    message = {"event": "media", "media": {"payload": payload}}
    assert redacted(["caller-audio"], "<", message)["media"]["payload"] == ""


def test_keys_become_0() -> None:
    key = {"event": "dtmf", "dtmf": {"track": "inbound", "digit": "7"}}
    assert redacted(["digits"], "<", key)["dtmf"]["digit"] == "0"
    assert redacted(["digits"], ">", {"event": "sendDTMF", "dtmf": "12#"})["dtmf"] == "000"


def test_extra_headers_are_taken_out() -> None:
    assert redacted(["headers"], "<", START) == {**START, "extra_headers": ""}


def test_words_and_digits_are_taken_out_of_decisions() -> None:
    turn = {"what": "turn", "number": 1, "words": ["Hello", "Hi"], "digit": "5"}
    assert redacted(["words"], "!", turn) == {**turn, "words": "…"}
    assert redacted(["digits"], "!", turn) == {**turn, "digit": "…"}


def test_numbers_are_taken_out_of_the_description() -> None:
    head = CaptureHead(caller="+1415", called="+1416", answer={"caller": "+1415"})
    kept = WireRedaction(["numbers"], MULAW_8K).head(head)
    assert (kept.caller, kept.called, kept.answer, kept.redacted) == (None, None, None, ["numbers"])
    assert WireRedaction((), MULAW_8K).head(head) == head


def test_headers_are_taken_out_of_the_answer_webhook() -> None:
    head = CaptureHead(answer={"caller": "+1415", "headers": {"a": "b"}, "fields": {"X-PH-a": "b"}})
    kept = WireRedaction(["headers"], MULAW_8K).head(head)
    assert kept.answer == {"caller": "+1415"}


@pytest.mark.parametrize("message", [b"nonsense", b"[]", b"\xff"])
def test_what_cannot_be_read_is_not_kept(message: bytes) -> None:
    assert WireRedaction(REDACTABLE, MULAW_8K).message("<", message) == b"redacted"


@pytest.mark.parametrize("message", [b"[" * 100_000, b'{"a":' * 100_000])
@pytest.mark.parametrize("side", ["<", ">", "!"])
def test_what_is_nested_too_deeply_is_not_kept(side: Any, message: bytes) -> None:
    assert WireRedaction(REDACTABLE, MULAW_8K).message(side, message) == b"redacted"


def test_the_agents_voice_on_the_outbound_track_is_the_agents() -> None:
    outbound = {"event": "media", "media": {"track": "outbound", "payload": PAYLOAD}}
    assert redacted(["caller-audio"], "<", outbound) == outbound
    assert redacted(["agent-audio"], "<", outbound) != outbound


def test_numbers_are_taken_out_of_the_url_and_of_extra_headers() -> None:
    query = {"from": "+1 (415) 555-0100", "to": "sip:anna@example.com", "shop": "7"}
    head = CaptureHead(path="/of/14155550100", query=query)
    kept = WireRedaction(["numbers"], MULAW_8K).head(head)
    assert kept.path == "/of/00000000000"
    assert kept.query == {"from": "+0 (000) 000-0000", "to": "sip:…", "shop": "7"}
    for headers in ("{X-PH-From: +14155550100}", {"X-PH-From": "+14155550100"}):
        for message in ({"extra_headers": headers}, {"start": {"extraHeaders": headers}}):
            assert "4155550100" not in str(redacted(["numbers"], "<", message))


def test_keys_and_numbers_are_taken_out_of_words_that_stay() -> None:
    turn = {"what": "turn", "number": 12, "words": ["[pressed 4111]", "Call +14155550100, room 5."]}
    without_digits = redacted(["digits"], "!", turn)
    assert without_digits["words"] == ["[pressed 0000]", "Call +00000000000, room 0."]
    without_numbers = redacted(["numbers"], "!", turn)
    assert without_numbers["words"] == ["[pressed 4111]", "Call +00000000000, room 5."]
    tool = {"what": "tool begins", "words": {"card": "4111", "deep": ["4111"], "times": 2}}
    assert redacted(["digits"], "!", tool)["words"] == {
        "card": "0000",
        "deep": ["0000"],
        "times": 2,
    }


@pytest.mark.parametrize("name", ["digits", "headers", "numbers", "words"])
def test_what_an_error_quotes_of_a_message_is_taken_out(name: str) -> None:
    ignored = {"what": "a malformed message was ignored", "reason": "one key, got '4111'"}
    assert redacted([name], "!", ignored)["reason"] == "one key, got …"
    assert redacted(["caller-audio"], "!", ignored) == ignored


def test_why_the_stream_ended_stays_without_numbers() -> None:
    ended = {"what": "stream ended", "reason": "Plivo closed the socket (1000)"}
    assert redacted(REDACTABLE, "!", ended) == ended
    ended["reason"] = "closed by the handler: passed on to +14155550100"
    assert redacted(["numbers"], "!", ended)["reason"].endswith("passed on to +00000000000")
