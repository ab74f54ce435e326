import sys
import traceback

import pytest

from mediaserver.telemetry.tracebacks import INNER_FRAMES, OUTER_FRAMES, render_traceback


def rendered(error: BaseException) -> str:
    return render_traceback((type(error), error, error.__traceback__))


def raise_it(error: BaseException, deeper: int = 0) -> None:
    if deeper:
        raise_again(error, deeper - 1)
    raise error


def raise_again(error: BaseException, deeper: int) -> None:
    raise_it(error, deeper)


def caught(error: BaseException, times: int = 1, *, deeper: int = 0) -> BaseException:
    for _ in range(times):
        with pytest.raises(type(error)):
            raise_it(error, deeper)
    return error


def chained() -> BaseException:
    cause = caught(KeyError("key"))
    with pytest.raises(ValueError, match="no such key") as caught_here:
        raise ValueError("no such key") from cause
    caught_here.value.add_note("a note")
    return caught_here.value


def grouped() -> BaseException:
    return caught(BaseExceptionGroup("two", [caught(SystemExit(3)), chained()]))


@pytest.mark.parametrize(
    "error",
    [chained(), grouped(), caught(SyntaxError("odd", ("x.py", 1, 1, "x = ="))), ValueError("new")],
    ids=["chain", "group", "syntax", "not raised"],
)
def test_a_short_traceback_is_as_python_prints_it(error: BaseException) -> None:
    assert rendered(error) == "".join(traceback.format_exception(error)).rstrip("\n")


def test_an_exception_of_many_calls_shows_the_last_of_them_and_counts_the_other_frames() -> None:
    error = caught(ValueError("constant"), times=500)
    text = rendered(error)
    # `caught` and `raise_it`, 500 times.
    assert text.endswith(
        f"({1_000 - OUTER_FRAMES - INNER_FRAMES} frames in the middle are left out)"
    )
    assert text.count("  File ") <= OUTER_FRAMES + INNER_FRAMES
    assert "ValueError: constant\n" in text
    assert len(list(traceback.walk_tb(error.__traceback__))) == 1_000


def test_the_innermost_frame_of_a_deep_traceback_is_shown() -> None:
    text = rendered(caught(ValueError("deep"), deeper=100))
    assert "    raise error\nValueError: deep\n" in text
    assert f"({202 - OUTER_FRAMES - INNER_FRAMES} frames in the middle" in text


def test_no_frame_is_lost_at_the_limit() -> None:
    error = caught(ValueError("constant"), times=(OUTER_FRAMES + INNER_FRAMES) // 2)
    assert rendered(error).count("  File ") == OUTER_FRAMES + INNER_FRAMES
    assert "left out" not in rendered(error)


def test_long_causes_and_members_are_shortened_too() -> None:
    long = caught(ValueError("constant"), times=500)
    group = BaseExceptionGroup("group", [long, KeyError("short")])
    outer = RuntimeError("outer")
    outer.__cause__ = group
    text = rendered(outer)
    assert text.count("  File ") <= OUTER_FRAMES + INNER_FRAMES
    assert f"({1_000 - OUTER_FRAMES - INNER_FRAMES} frames" in text


def test_exceptions_that_cause_each_other_end() -> None:
    first, second = caught(ValueError("first")), caught(ValueError("second"))
    first.__cause__, second.__cause__ = second, first
    assert rendered(first).count("ValueError: second") == 1


def test_what_is_shown_does_not_grow_with_the_depth() -> None:
    def lines(deeper: int) -> int:
        seen = 0

        def count(frame: object, event: str, _: object) -> None:
            nonlocal seen
            seen += event == "call"

        error = caught(ValueError("deep"), deeper=deeper)
        rendered(error)  # fills the cache of source lines
        sys.setprofile(count)
        try:
            rendered(error)
        finally:
            sys.setprofile(None)
        return seen

    # Only counting the frames grows, by a step of a generator each.
    assert lines(200) - lines(100) <= 2 * 200 + 50
