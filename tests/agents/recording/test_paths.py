import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.recording.paths import check_path, stream_path


def stream(**ids: str | None) -> Any:
    known = {"call_id": "c1", "stream_id": "s1", "caller": "+1415", "called": None}
    return SimpleNamespace(**{**known, **ids})


@pytest.mark.parametrize("template", ["a.wav", "{call_id}/{time:%Y}.FLAC", "{caller}-{called}.wav"])
def test_known_fields_and_suffixes_are_accepted(template: str) -> None:
    check_path(template, ".wav", ".flac")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a.mp3", "the file must be .wav or .flac, not 'a.mp3'"),
        ("{caler}.wav", "has the unknown field 'caler'; allowed: {call_id}"),
        ("{0}.wav", "has the unknown field"),
        ("{time.nothing}.wav", "has the unknown field"),
    ],
)
def test_other_fields_and_suffixes_are_refused(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_path(template, ".wav", ".flac")


def test_without_suffixes_any_will_do() -> None:
    check_path("calls/{call_id}.jsonl")


def test_what_is_not_known_of_a_call_is_called_unknown() -> None:
    assert str(stream_path("{call_id}/{called}.wav", stream())) == "c1/unknown.wav"


@given(st.text(min_size=1))
def test_no_caller_can_choose_a_folder(caller: str) -> None:
    path = stream_path("calls/{caller}.wav", stream(caller=caller))
    assert path.parent.as_posix() == "calls"
    assert re.fullmatch(r"[\w+-]+\.wav", path.name)
