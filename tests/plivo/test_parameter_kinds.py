from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from audiocodecs import MULAW_8K
from mediaserver.plivo.parameter_kinds import (
    SIP_HEADERS,
    FlagKind,
    FormatKind,
    PairsKind,
    ParameterKind,
    TextKind,
    UrlKind,
    WholeKind,
    WordKind,
)


TRACK = WordKind("inbound", "both")
WEB = UrlKind("http", "https", longest=30)


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (FlagKind(), True, True),
        (FlagKind(), " TRUE ", True),
        (FlagKind(), "False", False),
        (WholeKind(1), "60", 60),
        (WholeKind(1), " +7\n", 7),
        (WholeKind(0, 5), 5, 5),
        (TRACK, "BOTH", "both"),
        (WEB, " HTTPS://h.example/a?b=c#d ", "HTTPS://h.example/a?b=c#d"),
        (FormatKind(), MULAW_8K, "audio/x-mulaw;rate=8000"),
        (FormatKind(), "Audio/X-L16; rate=16000", "audio/x-l16;rate=16000"),
        (PairsKind(20), " a=1,B2=3c ", "a=1,B2=3c"),
        (PairsKind(20), {"a": 1, "b": "2"}, "a=1,b=2"),
        (SIP_HEADERS, "a=b%20c", "a=b%20c"),
        (TextKind(), " a ", " a "),
    ],
)
def test_a_value_is_brought_to_the_form_of_the_pages(
    kind: ParameterKind, value: Any, read: Any
) -> None:
    assert kind.read(value) == read
    assert kind.read(kind.write(read)) == read


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (FlagKind(), "yes", "true or false, not 'yes'"),
        (FlagKind(), 1, "true or false, not 1"),
        (FlagKind(), ["true"], "true or false"),
        (WholeKind(1), 1.5, "whole number, not 1.5"),
        (WholeKind(1), True, "whole number, not True"),
        (WholeKind(1), "1" * 30, "whole number"),
        (WholeKind(1), "٣", "whole number"),
        (WholeKind(1), 0, "at least 1, not 0"),
        (WholeKind(60, 100), "59", "60 to 100, not 59"),
        (TRACK, "left", "inbound or both, not 'left'"),
        (TRACK, 1, "inbound or both, not 1"),
        (WEB, "ftp://h.example", "begins with http:// or https://, not 'ftp"),
        (WEB, "h.example", "begins with http://"),
        (WEB, "http://", "begins with http://"),
        (WEB, 7, "begins with http://"),
        (WEB, "http://h/a b", "space or control character"),
        (WEB, "http://h/\x7f", "space or control character"),
        (WEB, "http://h:x/", "is not a URL"),
        (WEB, "http://h/" + "a" * 22, "30 characters; this URL has 31"),
        (FormatKind(), "audio/x-mulaw", "audio/x-mulaw;rate=8000, not 'audio/x-mulaw'"),
        (FormatKind(), "audio/x-alaw;rate=8000", "not 'audio/x-alaw"),
        (FormatKind(), "audio/wav", "must be audio/x-l16;rate=16000 or"),
        (FormatKind(), 8000, "not '8000'"),
        (PairsKind(9), "nope", "'nope' is not such a pair"),
        (PairsKind(9), "a=1,", "'' is not such a pair"),
        (PairsKind(9), "a=b=c", "'a=b=c' is not such a pair"),
        (PairsKind(9), "a=b:c", "letters A to Z and a to z and digits"),
        (PairsKind(9), "a=é", "'a=é'"),
        (PairsKind(9), "a-b=1", "'a-b=1'"),
        (PairsKind(9), "a=1;b=2", "'a=1;b=2'"),
        (PairsKind(9), {"a": "1,b=2"}, "'a=1,b=2' is not such a pair"),
        (PairsKind(9), {"a": ""}, "'a='"),
        (PairsKind(9), 7, "key1=value1,key2=value2, not 7"),
        (PairsKind(9), "a=12345678", "at most 9 bytes, not 10"),
        (SIP_HEADERS, "a%=1", "'a%=1' is not such a pair"),
        (SIP_HEADERS, "a=b-c", "digits in keys and values (and % in values)"),
        (TextKind(), 7, "must be text, not 7"),
    ],
)
def test_another_value_is_refused_with_what_is_allowed(
    kind: ParameterKind, value: Any, says: str
) -> None:
    with pytest.raises(ValueError, match=r"must|contains|is not") as refused:
        kind.read(value)
    assert says in str(refused.value)


@given(
    st.sampled_from([FlagKind(), WholeKind(1), TRACK, WEB, FormatKind(), PairsKind(9)]),
    st.text() | st.floats() | st.integers() | st.none() | st.lists(st.text()),
)
def test_any_value_is_read_or_refused(kind: ParameterKind, value: Any) -> None:
    try:
        read = kind.read_optional(value)
    except ValueError:
        return
    assert read is None or kind.read(kind.write(read)) == read


@pytest.mark.parametrize("kind", [FlagKind(), WholeKind(1), TRACK, WEB, FormatKind(), PairsKind(9)])
@pytest.mark.parametrize("value", [None, "", " \n"])
def test_no_value_and_empty_text_leave_a_parameter_out(kind: ParameterKind, value: Any) -> None:
    assert kind.read_optional(value) is None


def test_no_pairs_leave_a_parameter_out() -> None:
    assert PairsKind(9).read_optional({}) is None


def test_empty_text_is_a_text() -> None:
    assert (TextKind().read_optional(""), TextKind().read_optional(None)) == ("", None)


class Model(BaseModel):
    needed: Annotated[int, WholeKind(1, 9)]
    optional: Annotated[str | None, TRACK] = None


def test_a_model_reads_and_describes_its_fields_by_their_kinds() -> None:
    model = Model.model_validate({"needed": "7", "optional": "INBOUND"})
    assert (model.needed, model.optional) == (7, "inbound")
    assert Model.model_validate({"needed": 1, "optional": ""}).optional is None
    assert Model.model_json_schema()["properties"]["needed"]["maximum"] == 9


def test_a_model_refuses_what_a_kind_does() -> None:
    with pytest.raises(ValidationError, match="must be a whole number, not ''"):
        Model.model_validate({"needed": ""})
