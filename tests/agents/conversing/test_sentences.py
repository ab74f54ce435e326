import re
from itertools import pairwise
from string import ascii_lowercase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sentences import corpus, cut_right
from mediaserver.agents.conversing.sentences import Sentences


def cut(text: str, **options: Any) -> list[str]:
    sentences = Sentences(**options)
    return sentences.feed(text) + sentences.flush()


def cut_in_pieces(text: str, places: list[int], **options: Any) -> list[str]:
    sentences = Sentences(**options)
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    return [said for piece in pieces for said in sentences.feed(piece)] + sentences.flush()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello there. How are you? Fine!", ["Hello there. ", "How are you? ", "Fine!"]),
        ("all in lower case. yes. it is", ["all in lower case. ", "yes. ", "it is"]),
        ("Really?! Yes.", ["Really?! ", "Yes."]),
        ('He said "Yes." Then (he left.) Gone.', ['He said "Yes." ', "Then (he left.) ", "Gone."]),
        ("one line\nanother\n\n\nthird", ["one line ", "another ", "third"]),
        ("你好。我很好！“真的？”他说。", ["你好。", "我很好！", "“真的？”", "他说。"]),
        ("क्या हाल है। ठीक है।", ["क्या हाल है। ", "ठीक है।"]),
        ("At 5 p.m. Tomorrow too.", ["At 5 p.m. ", "Tomorrow too."]),
        ("Bread etc. Then home.", ["Bread etc. ", "Then home."]),
        ("The answer is no. Then go.", ["The answer is no. ", "Then go."]),
        ("So do I. But not now.", ["So do I. ", "But not now."]),
        ("Well... Then go.", ["Well... ", "Then go."]),
        ("I like it. .NET is fine.", ["I like it. ", ".NET is fine."]),
        ("5 in. Then 3 ft. Then stop.", ["5 in. ", "Then 3 ft. ", "Then stop."]),
        ("all lower. 5 minutes. then go", ["all lower. ", "5 minutes. ", "then go"]),
        ("Is it [ready?](a.html) Yes.", ["Is it ready? ", "Yes."]),
        ("**Yes.** *Really?* Fine!\U0001f600 Go.", ["Yes. ", "Really? ", "Fine! ", "Go."]),
        ("Բարև։ Ինչո՞վ օգնեմ։ Լավ:", ["Բարև։ ", "Ինչո՞վ օգնեմ։ ", "Լավ:"]),
        ("ሰላም። ስሜ አዳ ነው።ደህና?", ["ሰላም። ", "ስሜ አዳ ነው።", "ደህና?"]),
        ("ခဏစောင့်ပါ။ ရပါပြီ။", ["ခဏစောင့်ပါ။ ", "ရပါပြီ။"]),
        ("ខ្ញុំយល់ហើយ។ អរគុណ៕", ["ខ្ញុំយល់ហើយ។ ", "អរគុណ៕"]),
        ("هل تسمعني؟ نعم.", ["هل تسمعني؟ ", "نعم."]),
        ("Με ακούτε; Ναι.", ["Με ακούτε; ", "Ναι."]),
        ("ได้ครับ รอสักครู่นะครับ", ["ได้ครับ ", "รอสักครู่นะครับ"]),
        ("བཀྲ་ཤིས། ཐུགས་རྗེ་ཆེ།", ["བཀྲ་ཤིས། ", "ཐུགས་རྗེ་ཆེ།"]),
    ],
)
def test_sentences_end(text: str, sentences: list[str]) -> None:
    assert cut(text) == sentences


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith and Mrs. Jones are here.",
        "It is 3.5 percent of 1,000.25 dollars.",
        "Fruit, e.g. apples, i.e. food.",
        "The U.S. Army is big.",
        "J. R. R. Tolkien wrote it.",
        "At 5 p.m. today.",
        "It is No. 5 of fig. 3.",
        "Well... maybe, hm… yes.",
        "See www.example.com/a?b=1 for it.",
        "1. The first of them.",
        "Hmm. . . yes.",
        "5 in. by 3 in.",
        "Klockan är ca. kl. 9.",
        "Acme Pty. Ltd. is open.",
        "The King Jr. Blvd. is here.",
        "вул. Шевченка, буд. 5.",
    ],
)
def test_no_sentence_ends_there(text: str) -> None:
    assert cut(text) == [text]


def test_a_mark_within_a_line_is_no_heading() -> None:
    assert cut("Press it. # is the key.") == ["Press it. ", "# is the key."]


def test_a_block_of_code_is_not_said() -> None:
    assert cut("Look:\n```python\nprint(1). x = 2\n```\nThat is all.") == ["Look: ", "That is all."]


def test_what_follows_a_block_of_code_on_its_last_line_is_said() -> None:
    assert cut("```\nx\n``` That is all.") == ["That is all."]


def test_a_fence_within_a_block_of_code_does_not_end_it() -> None:
    assert cut("````md\n```\nx\n```\n````\nDone.") == ["Done."]


def test_a_block_of_code_without_an_end_is_not_said() -> None:
    assert cut("Look.\n```\nprint(1). x = 2\n") == ["Look. "]


def test_a_sentence_comes_as_soon_as_it_is_known_to_be_one() -> None:
    sentences = Sentences()
    assert sentences.feed("Hello") == []
    assert sentences.feed(" there.") == []
    assert sentences.feed(" How") == ["Hello there. "]


@pytest.mark.parametrize(
    ("before", "decides"),
    [
        ("Are you there? ", ""),
        ("Hello there. ", "H"),
        ("It is 4711. ", "K"),
        ("It costs 5. ", "K"),
        ("We close at 5 p.m. ", "K"),
        ("Take plan B. ", "I"),
        ("Llame ya. ", "¿"),
        ("请稍等。", "我"),
        ("ได้ครับ ", ""),
        ("ठीक है। ", ""),
    ],
)
def test_a_sentence_comes_with_the_character_that_decides(before: str, decides: str) -> None:
    sentences = Sentences()
    early = [said for letter in before[:-1] for said in sentences.feed(letter)]
    last = sentences.feed(before[-1])
    assert early == []
    assert [said.strip() for said in last + sentences.feed(decides)] == [before.strip()]


def test_thai_without_marks_is_spoken_while_it_is_written() -> None:
    text = "กรุณาถือสายรอสักครู่ระบบ กำลังตรวจสอบข้อมูลของคุณ และจะแจ้งผลให้ทราบโดยเร็วที่สุด " * 3
    sentences = Sentences()
    assert sentences.feed(text[:27]) == ["กรุณาถือสายรอสักครู่ระบบ "]
    pieces = sentences.feed(text[27:]) + sentences.flush()
    assert all(len(piece) < 100 for piece in pieces)


def test_a_letter_is_not_torn_from_its_vowels() -> None:
    assert cut("ที่" * 4, longest=4, first=None) == ["ที่"] * 4


def test_the_corpus_is_cut_right() -> None:
    scores = [cut_right(said.spoken, cut(said.text, first=None)) for said in corpus()]
    assert len(scores) > 500
    assert sum(right for right, _, _ in scores) >= 0.98 * len(scores)


@pytest.mark.parametrize(
    "part",
    ["`", "*", "[", "](", "(", ".", "1. ", "A. ", "Main St. ", "…", '"', " ", "\n", "\r\n", "9",
     "word", "ก", "ค่ะ ", "。", "\u0301", "```\n", "~~~\n", "[a](", "<b", "\\", "5* ", "\U0001f600"],
)  # fmt: skip
@pytest.mark.parametrize("begins", ["", "```\n"])
def test_a_long_text_takes_no_longer_than_its_length(part: str, begins: str) -> None:
    text = begins + part * (10_000 // len(part))
    cut(text)
    cut(text[:5_000], longest=1_000_000, first=None)
    sentences = Sentences()
    for letter in text[:2_000]:
        sentences.feed(letter)
    assert len(sentences._text) < 1000


def test_a_long_first_sentence_is_cut_at_a_comma() -> None:
    text = "I would be very happy to help you with that, sir, and to look into it, if you can wait."
    assert cut(text)[0] == "I would be very happy to help you with that, sir, "
    assert cut(text, first=None) == [text]


def test_a_second_sentence_is_not_cut_at_a_comma() -> None:
    text = "I would be very happy to help you with that, sir, and to look into it, if you can wait."
    assert cut(f"Yes. {text}") == ["Yes. ", text]


def test_after_a_flush_the_next_sentence_is_the_first() -> None:
    text = "I would be very happy to help you with that, sir, and to look into it, if you can wait."
    sentences = Sentences()
    assert sentences.feed(text) + sentences.flush() == sentences.feed(text) + sentences.flush()


def test_a_sentence_without_an_end_is_cut_at_a_comma_or_a_space() -> None:
    text = "one two three four five, six seven eight nine"
    assert cut(text, longest=30) == ["one two three four five, ", "six seven eight nine"]
    assert cut("one two three four", longest=12, first=None) == ["one two ", "three four"]
    assert cut("x" * 25, longest=10, first=None) == ["x" * 10, "x" * 10, "x" * 5]


@pytest.mark.parametrize("options", [{"longest": 0}, {"first": 0}, {"first": -1}])
def test_lengths_have_limits(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 1 character"):
        Sentences(**options)


WORDS = st.sampled_from(
    [
        "word",
        "Dr",
        "U.S",
        "no",
        "e.g",
        "3.5",
        "I",
        "a",
        "Then",
        "etc",
        "p.m",
        "5",
        "1",
        "https://a.b",
        "St",
        "Ave",
        "am",
        "Mai",
        "The",
        "A",
        "We",
        "ค่ะ",
        "กกกกกกกกกกกก",
        "你好",
        "है",
        "b]",
        "[",
    ]
)
MARKS = st.sampled_from(
    [". ", "? ", "! ", "... ", "… ", ", ", "; ", " - ", " — ", "。", "，", "\n", "\n\n", " ", "**",
     "*", "_", "`", '" ', " (", ") ", "\n- ", "\n# ", "\n> ", " \U0001f600 ", "  ", ".", "``", "~",
     "](a.b/c) ", "](", "« ", " »", "…", ":", "; ", "。」", "\r\n", "5"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(WORDS, MARKS, st.just("```\n"), st.text(max_size=3)), max_size=40).map(
    "".join
)
LENGTHS = st.fixed_dictionaries(
    {"first": st.none() | st.integers(1, 60), "longest": st.integers(1, 80)}
)


@given(TEXTS, st.lists(st.integers(0, 1000), max_size=30), LENGTHS)
def test_how_the_text_comes_makes_no_difference(
    text: str, places: list[int], lengths: dict[str, Any]
) -> None:
    assert cut_in_pieces(text, places, **lengths) == cut(text, **lengths)


@given(TEXTS, LENGTHS)
def test_no_piece_is_longer_than_allowed_or_without_words(
    text: str, lengths: dict[str, Any]
) -> None:
    for piece in cut(text, **lengths):
        assert len(piece.rstrip()) <= lengths["longest"]
        assert any(map(str.isalnum, piece))


@given(TEXTS.map(lambda text: re.sub(r"[][`~]|https://", "", text)), LENGTHS)
def test_no_letter_is_lost(text: str, lengths: dict[str, Any]) -> None:
    said = "".join(cut(text, **lengths))
    assert [*filter(str.isalnum, said)] == [*filter(str.isalnum, text)]


@given(
    st.lists(
        st.tuples(
            st.text(ascii_lowercase, min_size=2, max_size=9),
            MARKS.filter(lambda mark: "]" not in mark),
        ),
        max_size=30,
    )
)
def test_no_word_is_lost_or_torn(pairs: list[tuple[str, str]]) -> None:
    text = "".join(f"{word}{mark} " for word, mark in pairs)
    said = "".join(cut(text))
    letters = "".join(filter(str.isalpha, text))
    assert "".join(filter(str.isalpha, said)) == letters
    assert [word for word, _ in pairs if word not in said] == []


@pytest.mark.parametrize(
    ("text", "words", "rest"),
    [
        ("I think that Thurs", "I think that ", "Thurs"),
        ("I think that ", "I think that ", ""),
        ("Hello. I am", "I ", "am"),
        ("Hel", "", "Hel"),
        ("**Very** important inde", "Very important ", "inde"),
        ("see [the long page](http://a.b) the", "see the long page ", "the"),
        ("see [the long pa", "", "see the long pa"),
        ("call `a b", "", "call a b"),
        ("明天早上我会打电话", "", "明天早上我会打电话"),
        ("- first of all the", "first of all ", "the"),
        ("```\nx = 1 + ", "", ""),
        ("", "", ""),
    ],
)
def test_words_of_a_piece_that_is_not_complete(text: str, words: str, rest: str) -> None:
    sentences = Sentences()
    sentences.feed(text)
    assert sentences.has_words == any(map(str.isalnum, words + rest)) or "```" in text
    assert sentences.words() == words
    assert "".join(sentences.flush()) == rest


@given(
    st.lists(
        st.sampled_from(["Yes.", "No", "so,", "Mr.", "3.5", "it's", "why?", "and"]), max_size=30
    ),
    st.lists(st.integers(0, 40), max_size=6),
)
def test_taking_words_early_loses_and_changes_none(words: list[str], early: list[int]) -> None:
    sentences = Sentences()
    said: list[str] = []
    for index, word in enumerate(words):
        said += sentences.feed(f" {word}" if index else word)
        if index in early:
            said.append(sentences.words())
    said += sentences.flush()
    assert "".join(said).rstrip() == " ".join(words)


def test_tags_for_the_voice_stay_in_the_pieces() -> None:
    sentences = Sentences(tags=["[laugh]", "<soft>", "</soft>"])
    pieces = sentences.feed("[la") + sentences.feed("ugh] No. *Well*, <soft>yes.</soft>")
    assert pieces + sentences.flush() == ["[laugh] No. ", "Well, <soft>yes.</soft>"]
