import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.conversing.attributed_words import AttributedWords, Span
from mediaserver.agents.services import RecognizedWord, RecognizedWords


def words(text: str, start: float, end: float, *, final: bool = True) -> RecognizedWords:
    """Return words that are spread evenly, with their times."""
    texts = text.split()
    length = (end - start) / max(1, len(texts))
    times = [(start + count * length, start + (count + 1) * length) for count in range(len(texts))]
    each = tuple(RecognizedWord(word, *time) for word, time in zip(texts, times, strict=True))
    return RecognizedWords(text, start, end, final, each)


def span(attributed: AttributedWords, begin: float, end: float | None = None) -> Span:
    made = attributed.begin(begin)
    if end is not None:
        made.end = end
    return made


def test_words_belong_to_the_utterance_in_which_they_were_said() -> None:
    attributed = AttributedWords()
    first, second = span(attributed, 0.0, 2.0), span(attributed, 2.0)
    attributed.take(words("a b c d", 0.0, 4.0))
    assert (attributed.text(first), attributed.text(second)) == ("a b", "c d")


def test_words_that_are_not_final_are_replaced() -> None:
    attributed = AttributedWords()
    whole = span(attributed, 0.0)
    attributed.take(words("I want", 0.0, 1.0))
    attributed.take(words("too", 1.0, 1.5, final=False))
    attributed.take(words("two tickets", 1.0, 2.0, final=False))
    assert attributed.text(whole) == "I want two tickets"
    attributed.restart(1.0)
    assert attributed.text(whole) == "I want"


def test_words_of_utterances_that_are_transcribed_at_once_are_not_mixed() -> None:
    attributed = AttributedWords()
    first, second = span(attributed, 0.0, 1.0), span(attributed, 1.0)
    attributed.take(RecognizedWords("one", 0.0, 1.0))
    attributed.take(RecognizedWords("two", 1.0, 1.5))
    attributed.take(RecognizedWords("two three", 1.0, 2.0, final=True))
    attributed.take(RecognizedWords("one.", 0.0, 1.0, final=True))
    assert (attributed.text(first), attributed.text(second)) == ("one.", "two three")


def test_an_utterance_that_takes_up_another_has_its_words() -> None:
    attributed = AttributedWords()
    dropped, whole = span(attributed, 0.0, 1.0), span(attributed, 0.0)
    attributed.take(words("wait I", 0.0, 1.0))
    attributed.take(words("have a question", 1.0, 2.0))
    assert attributed.text(dropped) == "wait I"
    assert attributed.text(whole) == "wait I have a question"


@pytest.mark.parametrize(("at", "text"), [(0.6, "late"), (0.2, "")])
def test_a_word_just_outside_belongs_to_the_nearest_utterance(at: float, text: str) -> None:
    attributed = AttributedWords()
    utterance = span(attributed, 1.0)
    attributed.take(words("late", at, at + 0.2))
    assert attributed.text(utterance) == text


def test_the_words_of_an_utterance_that_is_over_are_not_those_of_the_next() -> None:
    attributed = AttributedWords()
    first = span(attributed, 0.0, 1.0)
    attributed.take(words("okay", 0.6, 0.9))
    attributed.over(first)
    assert attributed.text(span(attributed, 1.0)) == ""


def test_words_without_times_stay_together() -> None:
    attributed = AttributedWords()
    first, second = span(attributed, 0.0, 2.0), span(attributed, 2.5)
    attributed.take(RecognizedWords("all of it", 0.0, 4.0, final=True))
    assert (attributed.text(first), attributed.text(second)) == ("all of it", "")


def test_text_without_spaces_is_kept_as_it_is() -> None:
    attributed = AttributedWords()
    utterance = span(attributed, 0.0)
    each = (RecognizedWord("こん", 0.0, 0.5), RecognizedWord("にちは", 0.5, 1.0))
    attributed.take(RecognizedWords("こんにちは", 0.0, 1.0, final=True, words=each))
    assert attributed.text(utterance) == "こんにちは"


def test_it_knows_up_to_where_the_words_of_an_utterance_are_final() -> None:
    attributed = AttributedWords()
    first, second = span(attributed, 0.0, 1.0), span(attributed, 1.0)
    attributed.take(RecognizedWords("b", 1.0, 2.0, final=True))
    assert (first.through, second.through, attributed.through) == (-math.inf, 2.0, 2.0)


@given(st.lists(st.floats(0.3, 3.0), min_size=1, max_size=6), st.integers(1, 5), st.booleans())
def test_each_word_has_one_utterance(lengths: list[float], each: int, times: bool) -> None:
    """Utterances that follow one another have all the words, each once."""
    attributed = AttributedWords()
    spans: list[Span] = []
    end = 0.0
    for length in lengths:
        spans.append(span(attributed, end, end + length))
        end += length
    text = [str(number) for number in range(each * len(lengths))]
    for number, one in enumerate(spans):
        said = words(" ".join(text[number * each : (number + 1) * each]), one.begin, one.end)
        if not times:
            said = RecognizedWords(said.text, said.start, said.end, final=True)
        attributed.take(said)
    assert " ".join(attributed.text(one) for one in spans).split() == text


class CountedWords(tuple[RecognizedWord, ...]):
    """Words that count how often they are looked through."""

    looks = 0

    def __iter__(self) -> Iterator[RecognizedWord]:
        CountedWords.looks += 1
        return super().__iter__()


def test_an_interim_costs_no_more_after_many_final_words() -> None:
    attributed = AttributedWords()
    utterance = span(attributed, 0.0)
    for second in range(50):
        final = words("one two", second, second + 1.0)
        attributed.take(
            RecognizedWords(final.text, second, second + 1.0, True, CountedWords(final.words))
        )
        attributed.text(utterance)
    before = CountedWords.looks
    for _ in range(10):
        attributed.take(words("three", 50.0, 51.0, final=False))
        assert attributed.text(utterance).split() == ["one", "two"] * 50 + ["three"]
    assert CountedWords.looks == before


EVENTS = st.one_of(
    st.tuples(st.just("words"), st.floats(0, 8), st.floats(0.1, 2), st.booleans(), st.booleans()),
    st.tuples(st.just("begin"), st.floats(0, 8)),
    st.tuples(st.just("end"), st.integers(0, 3), st.floats(0, 9)),
    st.tuples(st.just("over"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["restart", "forget"]), st.floats(0, 8)),
)


def texts_after(events: list[tuple[object, ...]], *, read_always: bool) -> list[str]:
    attributed = AttributedWords()
    spans = [span(attributed, 0.0)]
    for kind, *values in events:
        match kind, values:
            case "words", [float(start), float(length), bool(final), bool(times)]:
                said = words(f"a b{start:.0f} c", start, start + length, final=final)
                bare = RecognizedWords(said.text, said.start, said.end, final)
                attributed.take(said if times else bare)
            case "begin", [float(begin)] if len(spans) < 4:
                spans.append(span(attributed, begin))
            case "end", [int(index), float(end)] if index < len(spans):
                spans[index].end = max(spans[index].begin, end)
            case "over", [int(index)] if index < len(spans):
                attributed.over(spans.pop(index))
            case "restart", [float(position)]:
                attributed.restart(position)
            case "forget", [float(position)]:
                attributed.forget(position)
        if read_always:
            for each in spans:
                attributed.text(each)
    return [attributed.text(each) for each in spans]


@given(st.lists(EVENTS, max_size=25))
def test_what_was_read_before_makes_no_difference(events: list[tuple[object, ...]]) -> None:
    assert texts_after(events, read_always=True) == texts_after(events, read_always=False)
