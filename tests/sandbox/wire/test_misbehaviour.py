import dataclasses

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mediaserver.sandbox import MISBEHAVIOURS, Misbehaviour


def test_a_phone_behaves_by_default():
    assert not Misbehaviour()
    assert str(Misbehaviour()) == ""


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("stop-reading@5", "stop_reading", 5.0),
        ("drop@3.25", "drop", 3.25),
        ("drop@1500ms", "drop", 1.5),
        ("drop", "drop", 0.0),
        ("late:80ms", "late", 0.08),
        ("late:0.1s", "late", 0.1),
        ("late:0.1", "late", 0.1),
        ("bursts:10", "bursts", 10),
        (" garbage ", "garbage", True),
        ("odd-sizes", "odd_sizes", True),
    ],
)
def test_texts_are_parsed(text, name, value):
    misbehaviour = Misbehaviour.parse(text)
    assert getattr(misbehaviour, name) == value
    assert misbehaviour


def test_several_texts_add_up():
    both = Misbehaviour.parse("late:80ms", "garbage")
    assert both == Misbehaviour(late=0.08, garbage=True)


@pytest.mark.parametrize("text", ["", "rude", "Garbage", "drop@", "drop @3 4", "stop_reading@5"])
def test_an_unknown_name_is_refused_with_those_allowed(text):
    with pytest.raises(ValueError, match=r"unknown misbehaviour .*stop-reading@SECONDS.*no-acks"):
        Misbehaviour.parse(text)


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        ("drop:3", "drop@SECONDS"),
        ("drop@soon", "drop@SECONDS"),
        ("late", "late:80ms"),
        ("late@3", "late:80ms"),
        ("bursts:2.5", "bursts:10"),
        ("garbage:3", "garbage"),
        ("garbage@3", "garbage"),
    ],
)
def test_a_wrong_value_is_refused_with_the_right_spelling(text, usage):
    with pytest.raises(ValueError, match=f"must be written '{usage}'"):
        Misbehaviour.parse(text)


@pytest.mark.parametrize("texts", [("drop@1", "drop@2"), ("garbage", "garbage")])
def test_a_name_given_twice_is_refused(texts):
    with pytest.raises(ValueError, match="given twice"):
        Misbehaviour.parse(*texts)


@pytest.mark.parametrize(
    "options",
    [
        {"drop": -1.0},
        {"late": float("nan")},
        {"late": float("inf")},
        {"bursts": 0},
        {"string_numbers": True, "missing_numbers": True},
        {"binary": True, "fragmented": True},
        {"no_acks": True, "acks_cleared": True},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=r"must|exclude"):
        Misbehaviour(**options)


def test_every_option_is_listed_with_help():
    assert len(MISBEHAVIOURS) == len(dataclasses.fields(Misbehaviour))
    assert all(MISBEHAVIOURS.values())


EXCLUSIVE = (
    {"string-numbers", "missing-numbers"},
    {"binary", "fragmented"},
    {"no-acks", "acks-cleared"},
)


@given(st.sets(st.sampled_from(sorted(MISBEHAVIOURS)), max_size=5))
def test_what_is_printed_can_be_parsed(usages):
    assume(not any(pair <= usages for pair in EXCLUSIVE))
    texts = [usage.replace("SECONDS", "2.5") for usage in usages]
    misbehaviour = Misbehaviour.parse(*texts)
    assert Misbehaviour.parse(*str(misbehaviour).split()) == misbehaviour
