import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, RATES, AudioError, AudioFormat


ALL = [AudioFormat("mulaw", 8000), AudioFormat("alaw", 8000)]
ALL += [AudioFormat("l16", rate) for rate in (8000, 11025, 16000, 24000, 32000, 48000, 192_000)]


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (("mulaw", 8000), MULAW_8K),
        (("l16", 8000), L16_8K),
        (("l16", 16000), L16_16K),
        (("l16", 24000), L16_24K),
    ],
)
def test_the_constants_are_the_formats_they_are_named_after(given: Any, known: AudioFormat) -> None:
    assert AudioFormat(*given) is known
    assert (known.encoding, known.rate) == given


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
@pytest.mark.parametrize("rate", [11025, 16000, 48000])
def test_g711_has_8000_hz_only(encoding: Any, rate: Any) -> None:
    with pytest.raises(AudioError, match=f"'{encoding}' and rate {rate}; allowed: .*mulaw;rate="):
        AudioFormat(encoding, rate)


@pytest.mark.parametrize(
    ("encoding", "rate"),
    [
        ("l16", 7999),
        ("l16", 192_001),
        ("l16", 0),
        ("l16", 16000.0),
        ("opus", 8000),
        (None, None),
        ("l16", "8000"),
        ([], {}),
    ],
)
def test_unknown_formats_are_refused(encoding: Any, rate: Any) -> None:
    with pytest.raises(AudioError, match=r"allowed: .*audio/x-l16;rate=8000 to 192000$"):
        AudioFormat(encoding, rate)


@pytest.mark.parametrize("fmt", ALL, ids=str)
def test_a_format_parses_what_it_prints(fmt: AudioFormat) -> None:
    assert AudioFormat.parse(str(fmt)) is fmt


@pytest.mark.parametrize(
    ("text", "fmt"),
    [
        ("audio/x-mulaw", MULAW_8K),
        ("audio/x-mulaw;rate=8000", MULAW_8K),
        ("audio/x-alaw", AudioFormat("alaw", 8000)),
        ("audio/x-l16", L16_8K),
        ("audio/x-l16;rate=16000", L16_16K),
        (" Audio/X-L16 ; Rate = 24000 ", L16_24K),
        ('audio/x-l16;rate="16000"', L16_16K),
        ("audio/x-l16;", L16_8K),
        ("audio/x-l16;rate=016000", L16_16K),
    ],
)
def test_parse_is_tolerant(text: str, fmt: AudioFormat) -> None:
    assert AudioFormat.parse(text) is fmt


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mulaw",
        "audio/L16;rate=16000",
        "audio/x-l16;rate=",
        "audio/x-l16;rate=7999",
        "audio/x-l16;rate=999999999",
        "audio/x-l16;rate=-8000",
        "audio/x-l16;rate=8000.0",
        "audio/x-l16;rate=٨٠٠٠",
        "audio/x-l16;channels=2",
        'audio/x-l16;rate="8000',
        "audio/x-mulaw;rate=16000",
        "audio/x-l16;rate=8000,audio/x-mulaw",
        None,
        b"audio/x-l16",
        8000,
    ],
)
def test_parse_says_what_was_given_and_what_is_allowed(text: Any) -> None:
    with pytest.raises(AudioError) as caught:
        AudioFormat.parse(text)
    assert str(caught.value).startswith(f"unknown audio format {text!r}; allowed: audio/x-mulaw")


PIECES = ["audio/x-l16", "audio/x-mulaw", " ", ";", "rate", "=", "8000", "16000", "7", '"']


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_parse_raises_nothing_but_audio_error(text: str) -> None:
    try:
        fmt = AudioFormat.parse(text)
    except AudioError:
        return
    assert fmt.rate in RATES


def test_the_message_stays_short_whatever_was_given() -> None:
    with pytest.raises(AudioError, match=r"^.{1,250}$"):
        AudioFormat.parse("audio/x-l16" * 1000)


def test_equal_formats_are_one() -> None:
    assert AudioFormat("l16", 16000) == AudioFormat.parse("audio/x-l16;rate=16000")
    assert len({*ALL, *(AudioFormat(f.encoding, f.rate) for f in ALL)}) == len(ALL)


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))]
)
def test_copies_are_the_same_format(clone: Callable[..., Any]) -> None:
    assert clone(L16_16K) is L16_16K


def test_a_format_is_immutable() -> None:
    with pytest.raises(AttributeError, match="immutable: cannot set 'rate'"):
        L16_8K.rate = 16000
    with pytest.raises(AttributeError, match="immutable: cannot delete 'rate'"):
        del L16_8K.rate
    with pytest.raises(AttributeError):
        L16_8K.name = "narrow"
    assert L16_8K.rate == 8000


def test_a_format_shows_how_to_make_it() -> None:
    assert repr(L16_16K) == "AudioFormat('l16', 16000)"


def test_a_format_matches_by_position() -> None:
    match L16_16K:
        case AudioFormat("l16", rate):
            assert rate == 16000
        case _:
            pytest.fail("no match")


def test_content_type_has_no_rate() -> None:
    assert MULAW_8K.content_type == "audio/x-mulaw"
    assert L16_24K.content_type == "audio/x-l16"


@pytest.mark.parametrize("fmt", ALL, ids=str)
def test_a_second_has_as_many_samples_as_the_rate(fmt: AudioFormat) -> None:
    assert fmt.bytes_per_second == fmt.rate * fmt.sample_bytes
    second = bytes(fmt.bytes_per_second)
    assert fmt.seconds(second) == 1.0
    assert len(fmt.decode(second)) == fmt.rate


def test_seconds_counts_bytes_whatever_the_layout_of_a_memoryview() -> None:
    assert L16_8K.seconds(memoryview(np.zeros(8000, np.int16).data)) == 1.0


@pytest.mark.parametrize("fmt", ALL, ids=str)
def test_silence_is_one_sample_that_decodes_to_the_quietest_there_is(fmt: AudioFormat) -> None:
    (sample,) = fmt.decode(fmt.silence)
    assert sample == (8 if fmt.encoding == "alaw" else 0)  # A-law has no zero
    assert fmt.encode(np.zeros(1, np.int16)) == fmt.silence


@pytest.mark.parametrize("fmt", ALL, ids=str)
def test_decoded_samples_encode_to_the_same_payload(fmt: AudioFormat) -> None:
    payload = bytes(range(0x80, 0x100)) * 2
    assert fmt.encode(fmt.decode(payload)) == payload
