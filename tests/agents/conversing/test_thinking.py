from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediaserver.agents.conversing.thinking import THINKING_TAGS, SpokenPart


def spoken(pieces: Sequence[str], **settings: Any) -> str:
    """Return what is spoken of an answer, if nothing is spoken before all of it is known."""
    part = SpokenPart(**settings)
    said = ""
    for piece in pieces:
        more = part.feed(piece)
        said = more if part.restarted else said + more
    return said + part.flush()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes, we have one.", "Yes, we have one."),
        ("<think> A tandem? </think>\n\nYes, we have one.", "\n\nYes, we have one."),
        ("<thinking>A tandem?</thinking>Yes.", "Yes."),
        ("<THINK>A tandem?</Think>Yes.", "Yes."),
        ("<think></think>Yes.", "Yes."),
        ("One moment.<think>Hm.</think>Yes.", "One moment. Yes."),
        ("One moment. <think>Hm.</think> Yes.", "One moment.  Yes."),
        ("One.<think>a</think>Two.<thinking>b</thinking>Three.", "One. Two. Three."),
        # With attributes.
        ('<think time="5">A tandem?</think>Yes.', "Yes."),
        ("<Thinking\n effort='low'>A tandem?</thinking >Yes.", "Yes."),
        ("Let me look. <tool_call id='1'>{}</tool_call>", "Let me look. "),
        # One that is never closed, or never opened; others within one.
        ("Well. <think>A tandem? It", "Well. "),
        ("A tandem? I have one.</think> Yes.", " Yes."),
        ("<think>a <thinking> b </thinking> c</think>Yes.", "Yes."),
        ("<think>if a < b or </thin then</think>Yes.", "Yes."),
        # Tool calls that are text.
        ('Let me look. <tool_call>{"name": "look"}</tool_call>', "Let me look. "),
        ('<tool_call>\n{"name": "look"}', ""),
        ("I look.</tool_call>It is here.", "I look. It is here."),
        ('[TOOL_CALLS] [{"name": "look"}]', ""),
        # What only looks like it.
        ("Is 1 < 2? I think so, <thi", "Is 1 < 2? I think so, <thi"),
        ("if a <think of 3 and so on", "if a <think of 3 and so on"),
        ("Yes.<think />", "Yes.<think />"),
        ("</b> <thinker> think <thin>k", "</b> <thinker> think <thin>k"),
        ("", ""),
    ],
)
def test_what_is_spoken_of_an_answer(text: str, said: str) -> None:
    assert spoken([text]) == said
    assert spoken(list(text)) == said


@given(
    st.lists(
        st.sampled_from(
            ["<think>", "</think>", "<thinking>", "</thinking>", "<tool_call>", "</tool_call>"]
        )
        | st.sampled_from(["<think", " a='1'", " >", "/"])
        | st.sampled_from(["[TOOL_CALLS]", "<", "<th", "</", ">", "[", " ", "\n", "Yes.", "\u0130"])
        | st.text(max_size=3),
        max_size=8,
    ),
    st.data(),
    st.booleans(),
)
def test_it_does_not_matter_how_an_answer_is_cut(
    parts: list[str], data: st.DataObject, thinks_first: bool
) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert spoken(pieces, thinks_first=thinks_first) == spoken([text], thinks_first=thinks_first)


@given(st.text(), st.text(alphabet="<>/think a"), st.text())
@example("", "</thin", "")
def test_what_stands_in_a_block_is_never_spoken(before: str, thought: str, after: str) -> None:
    text = f"{before}<think>{thought}SECRET</think>{after}"
    assert "SECRET" not in spoken([text])


@given(st.text(alphabet=st.characters(exclude_characters="<["), max_size=20))
def test_text_without_tags_is_spoken_as_it_comes(text: str) -> None:
    part = SpokenPart()
    assert [part.feed(piece) for piece in text] == list(text)
    assert part.flush() == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A tandem?</think>Yes.", "Yes."),
        ("Yes, I have.", "Yes, I have."),
        ("Yes.<think>Hm.</think>No.", "Yes. No."),
    ],
)
def test_nothing_is_spoken_before_a_block_that_may_have_begun_is_closed(
    text: str, said: str
) -> None:
    part = SpokenPart(thinks_first=True)
    pieces = [part.feed(piece) for piece in text]
    assert "".join([*pieces, part.flush()]) == said


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        (["[THINK]"], "[THINK]A tandem?[/THINK]Yes."),
        (["\u25c1think\u25b7"], "\u25c1think\u25b7A tandem?\u25c1/think\u25b7Yes."),
        (["reasoning"], "<reasoning>A tandem?</reasoning>Yes."),
        ([*THINKING_TAGS, "<r>"], "<r>A tandem?</r><think>Well.</think>Yes."),
        (["think"], "<think></think>Yes."),
        ([], "<tool_call>look</tool_call>Yes."),
    ],
)
def test_the_tags_can_be_set(tags: list[str], text: str) -> None:
    assert spoken(list(text), tags=tags) == "Yes."


@pytest.mark.parametrize("tag", ["", "</think>", "<>", "think>", "two words"])
def test_what_is_no_opening_tag_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="a thinking tag is an opening tag such as <think>, not"):
        SpokenPart([tag])
