import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.turns import TurnSettings
from mediaserver.agents.turns.settings import BACKCHANNELS


SECONDS = (
    "end_of_turn",
    "onset",
    "shortest",
    "confirm",
    "drop_after",
    "decide_within",
    "longest",
    "preroll",
    "silence",
)
PROBABILITIES = ("start_above", "stop_below", "sure_above")


def test_the_defaults_are_allowed() -> None:
    assert TurnSettings() == TurnSettings()


@pytest.mark.parametrize("name", ["silence", "longest"])
def test_what_may_be_none(name: str) -> None:
    settings: dict[str, Any] = {name: None}
    assert getattr(TurnSettings(**settings), name) is None


@pytest.mark.parametrize("name", [*SECONDS, *PROBABILITIES])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, 1e6])
def test_a_number_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .* to .*, not {value!r}$"):
        TurnSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*SECONDS, *PROBABILITIES])
@pytest.mark.parametrize("value", ["0.5", True, [1]])
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be a number, not"):
        TurnSettings(**{name: value})


def test_what_must_not_be_none() -> None:
    with pytest.raises(TypeError, match="end_of_turn must be a number, not None"):
        TurnSettings(end_of_turn=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"onset": 0.3, "shortest": 0.2}, "onset must not be more than shortest"),
        ({"shortest": 0.8}, "shortest must not be more than confirm"),
        ({"confirm": 2.0}, "confirm must not be more than decide_within"),
        ({"decide_within": 0.6, "drop_after": 0.7}, "drop_after must not be more than decide_"),
        ({"start_above": 0.3}, "stop_below must not be more than start_above, .* 0.35 to 0.3"),
        ({"sure_above": 0.4}, "start_above must not be more than sure_above"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        TurnSettings(**settings)


@pytest.mark.parametrize("words", ["okay", ["okay"], None])
def test_backchannels_are_a_set(words: Any) -> None:
    with pytest.raises(TypeError, match="backchannels must be a set of words"):
        TurnSettings(backchannels=words)


@pytest.mark.parametrize("word", ["", "...", 5])
def test_a_backchannel_has_words(word: Any) -> None:
    with pytest.raises(ValueError, match="a backchannel must be a word or some words, not"):
        TurnSettings(backchannels={word})


def test_yes_and_no_are_answers() -> None:
    assert not BACKCHANNELS & {"yes", "no", "stop", "wait"}


@given(st.dictionaries(st.sampled_from([*SECONDS, *PROBABILITIES]), st.floats()))
def test_settings_are_taken_or_refused_with_a_reason(settings: dict[str, Any]) -> None:
    try:
        made = TurnSettings(**settings)
    except ValueError as error:
        refused = str(error)
    else:
        assert made.onset <= made.shortest <= made.confirm <= made.decide_within
        assert made.stop_below <= made.start_above <= made.sure_above <= 1
        return
    assert any(name in refused for name in settings)
