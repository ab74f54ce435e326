from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import hypothesis.strategies as st
import matplotlib.figure
import numpy as np
import pytest
from hypothesis import given
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from numpy.typing import NDArray

from mediaserver.demo.moment import Moment
from mediaserver.demo.picture import draw, envelope, stagger, summary, text_width, wrap
from mediaserver.demo.scene import Scene
from mediaserver.demo.verdict import CallFigures
from mediaserver.sandbox import CallReport


Picture: TypeAlias = tuple[Figure, NDArray[np.float32]]
Draw: TypeAlias = Callable[[list[Moment], CallReport], Picture]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Draw]:
    """Draw a call: the figure, and the picture's pixels."""
    figures: list[Figure] = []
    path = tmp_path_factory.mktemp("picture") / "call.png"
    savefig = matplotlib.figure.Figure.savefig

    def keep(self: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        savefig(self, *args, **kwargs)

    def drawn(moments: list[Moment], report: CallReport) -> Picture:
        draw(path, report, moments, CallFigures.of(report), title="A call")
        return figures[-1], imread(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matplotlib.figure.Figure, "savefig", keep)
        yield drawn


@pytest.fixture(scope="module")
def picture(drawn: Draw, performed: tuple[Scene, list[Moment], CallReport]) -> Picture:
    """The picture of the scene as it should be."""
    _, moments, report = performed
    return drawn(moments, report)


def visible_texts(figure: Figure) -> list[Text]:
    return [each for each in figure.findobj(Text) if each.get_visible() and each.get_text().strip()]


def test_no_two_texts_overlap_and_none_is_cut_off(picture: Picture) -> None:
    figure, _ = picture
    boxes = [(each.get_text(), each.get_window_extent()) for each in visible_texts(figure)]
    assert len(boxes) > 20
    width, height = figure.get_size_inches() * figure.dpi
    for index, (text, box) in enumerate(boxes):
        assert 0 <= box.x0 <= box.x1 <= width, text
        assert 0 <= box.y0 <= box.y1 <= height, text
        for other, its_box in boxes[index + 1 :]:
            assert not box.overlaps(its_box), (text, other)


def test_every_moment_with_a_label_is_labelled(
    picture: Picture, performed: tuple[Scene, list[Moment], CallReport]
) -> None:
    _, moments, _ = performed
    figure, _ = picture
    texts = [each.get_text().strip() for each in visible_texts(figure)]
    assert {each.label for each in moments if each.label} <= set(texts)
    assert {each.words for each in moments if each.words and each.aloud} <= {
        text.replace("\n", " ") for text in texts
    }
    assert "understood: Okay." in texts


def test_each_voice_is_drawn_in_its_own_panel_and_colour(picture: Picture) -> None:
    _, pixels = picture
    rgb = pixels[..., :3]
    blue = np.linalg.norm(rgb - np.array([0x1F, 0x6F, 0x8B]) / 255, axis=2) < 0.05
    red = np.linalg.norm(rgb - np.array([0xC8, 0x55, 0x3D]) / 255, axis=2) < 0.05
    upper, lower = (
        np.average(np.arange(len(rgb)), weights=each.sum(axis=1)) for each in (blue, red)
    )
    assert blue.sum() > 5000
    assert red.sum() > 5000
    assert upper < lower


def test_a_call_that_broke_off_is_drawn_too(
    drawn: Draw, performed: tuple[Scene, list[Moment], CallReport]
) -> None:
    _, moments, report = performed
    report = replace(report, recording=None, duration=0.0, agent_speech=[], replies=[])
    figure, pixels = drawn(moments[:1], report)
    assert pixels.shape[1] == round(figure.get_figwidth() * figure.dpi)


def test_the_summary_says_what_never_happened() -> None:
    text = summary(
        CallFigures(
            first_audio=0.02, reply=None, silence=0.019, nod_silence=None, gaps=0.0, call=9.0
        )
    )
    assert "first audio after 20 ms" in text
    assert "slowest reply never" in text
    assert "silence 19 ms after the interruption begins" in text
    assert "gaps 0 ms" in text


labels = st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 3)), max_size=15).map(sorted)


@given(labels)
def test_no_label_covers_another(labels: list[tuple[float, float]]) -> None:
    placed = list(zip(labels, stagger(labels), strict=True))
    for index, ((position, width), row) in enumerate(placed):
        for (later, _), its_row in placed[index + 1 :]:
            assert its_row != row or later >= position + width


@given(labels)
def test_no_line_runs_through_a_label(labels: list[tuple[float, float]]) -> None:
    placed = list(zip(labels, stagger(labels), strict=True))
    for index, ((position, width), row) in enumerate(placed):
        for (later, _), its_row in placed[index + 1 :]:
            crosses = position < later < position + width
            assert not (crosses and its_row < row)


def test_labels_far_apart_share_the_top_row() -> None:
    assert stagger([(0.0, 1.0), (2.0, 1.0), (2.5, 1.0), (9.0, 1.0)]) == [0, 0, 1, 0]


@given(st.integers(0, 3000), st.integers(1, 500), st.integers(0, 2**32 - 1))
def test_an_envelope_holds_the_extremes(length: int, columns: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-32768, 32768, length, dtype=np.int16)
    low, high = envelope(samples, columns)
    assert len(low) == len(high) == min(columns, length)
    assert (low <= high).all()
    if length:
        assert (low.min() * 32768, high.max() * 32768) == (samples.min(), samples.max())


@given(st.lists(st.text("abcdefg", min_size=1, max_size=12), max_size=12), st.floats(0.2, 4))
def test_wrapped_words_are_all_there_and_fit(words: list[str], width: float) -> None:
    lines = wrap(" ".join(words), width).split("\n")
    assert " ".join(lines).split() == words
    assert all(text_width(line, 9.0) <= width for line in lines if " " in line)


def test_text_is_wider_in_larger_letters() -> None:
    assert text_width("caller", 20.0) == pytest.approx(2 * text_width("caller", 10.0), rel=0.1)


def test_moments_are_marked_in_any_number(
    drawn: Draw, performed: tuple[Scene, list[Moment], CallReport]
) -> None:
    _, _, report = performed
    figure, _ = drawn([Moment(0.01 * n, "agent", f"moment {n}", "") for n in range(12)], report)
    boxes = [
        each.get_window_extent()
        for each in visible_texts(figure)
        if each.get_text().strip().startswith("moment")
    ]
    assert len(boxes) == 12
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[n + 1 :])
