import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.services import Tokens, ToolCall
from mediaserver.agents.services.openai.chat_chunks import (
    CallPiece,
    CallsInPieces,
    Delta,
    FunctionPiece,
    decode_chunk,
)


def assembled(*pieces: Any) -> list[tuple[str, str, str]]:
    calls = CallsInPieces()
    for index, call_id, name, arguments in pieces:
        calls.add(CallPiece(index, call_id, FunctionPiece(name, arguments)))
    return [(call.id, call.name, call.arguments) for call in calls.finished()]


def test_arguments_come_in_pieces() -> None:
    pieces = (0, "a", "look", ""), (0, None, None, '{"at"'), (0, None, None, ": 1}")
    assert assembled(*pieces) == [("a", "look", '{"at": 1}')]


def test_arguments_come_whole_or_as_an_object() -> None:
    pieces = (0, "a", "look", '{"at": 1}'), (1, "b", "look", {"at": 2})
    assert assembled(*pieces) == [("a", "look", '{"at": 1}'), ("b", "look", '{"at": 2}')]


def test_no_arguments_are_an_empty_object() -> None:
    assert assembled((0, "a", "look", None)) == [("a", "look", "{}")]


@given(st.data())
def test_parallel_calls_may_come_interleaved(data: st.DataObject) -> None:
    wanted = [(f"id{n}", f"tool{n}", json.dumps({"n": n, "text": "x" * n})) for n in range(3)]
    queues = []
    for index, (call_id, name, arguments) in enumerate(wanted):
        cut = data.draw(st.integers(0, len(arguments)))
        rest = [(index, None, None, arguments[:cut]), (index, None, None, arguments[cut:])]
        queues.append([(index, call_id, name, ""), *rest])
    opened = [queue.pop(0) for queue in queues]
    order = data.draw(st.permutations([0, 0, 1, 1, 2, 2]))
    assert assembled(*opened, *(queues[index].pop(0) for index in order)) == wanted


def test_a_missing_id_is_made_up_and_unlike_any_other() -> None:
    (first, *one), (second, *two) = assembled((0, None, "look", "{}"), (1, "", "look", "{}"))
    assert one == two == ["look", "{}"]
    assert first.startswith("call_")
    assert first != second


def test_calls_that_all_have_number_0_are_told_apart_by_their_ids() -> None:
    pieces = (0, "a", "look", '{"at": 1}'), (0, "b", "look", '{"at": 2}')
    assert [call[0] for call in assembled(*pieces)] == ["a", "b"]


def test_calls_without_numbers_follow_each_other() -> None:
    pieces = (None, "a", "look", '{"at"'), (None, None, None, ": 1}"), (None, "b", "look", "{}")
    assert assembled(*pieces) == [("a", "look", '{"at": 1}'), ("b", "look", "{}")]


def test_calls_without_numbers_and_ids_are_told_apart_by_whole_arguments() -> None:
    pieces = (None, None, "look", '{"at": 1}'), (None, None, "listen", "{}")
    assert [call[1] for call in assembled(*pieces)] == ["look", "listen"]


def test_a_name_that_is_repeated_with_each_piece_begins_no_call() -> None:
    pieces = (0, "a", "look", '{"at"'), (0, "a", "look", ": 1}"), (0, "a", "look", "")
    assert assembled(*pieces) == [("a", "look", '{"at": 1}')]


def test_a_call_without_a_name_is_none() -> None:
    with pytest.raises(ValueError, match="without a name"):
        assembled((0, "a", None, "{}"))


def test_a_piece_may_have_no_function() -> None:
    calls = CallsInPieces()
    assert not calls
    calls.add(CallPiece(0, "a"))
    calls.add(CallPiece(0, None, FunctionPiece("look")))
    assert calls
    assert [call.name for call in calls.finished()] == ["look"]


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ('{"prompt_tokens": 3, "total_tokens": 3}', Tokens(3, 0)),
        ('{"prompt_tokens": null, "completion_tokens": null}', Tokens(0, 0)),
        ('{"prompt_tokens": 3.0, "completion_tokens": "?"}', Tokens(3, 0)),
        ('{"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": null}}', Tokens(3, 0)),
        ('{"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}', Tokens(3, 0, 2)),
        ('{"prompt_tokens": 3, "prompt_tokens_details": []}', Tokens(3, 0)),
        ("null", None),
        ("[]", None),
    ],
)
def test_the_cost_is_read_as_far_as_it_is_told(usage: str, tokens: Tokens | None) -> None:
    assert decode_chunk(b'{"choices": [], "usage": %s}' % usage.encode()).tokens == tokens


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("Hello.", "Hello."),
        ([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}], "Hello."),
        ([{"text": "Hel"}, "lo."], "Hello."),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}], ""),
        ([{"type": "text", "text": None}, {"type": "image_url"}, 7], ""),
        ([], ""),
    ],
)
def test_words_may_come_in_parts(content: Any, text: str) -> None:
    assert Delta(content=content).text == text


def test_what_a_provider_adds_to_a_call_is_kept() -> None:
    signature = {"google": {"thought_signature": "abc"}}
    first = {
        "index": 0,
        "id": "a",
        "type": "function",
        "function": {"name": "look", "arguments": "", "strictness": 1},
        "extra_content": signature,
    }
    later = {"index": 0, "function": {"arguments": "{}"}, "note": "n"}
    calls = CallsInPieces()
    for piece in Delta(tool_calls=[first, later]).calls:
        calls.add(piece)
    (call,) = calls.finished()
    assert call == ToolCall("a", "look", "{}")
    assert call.extra == {
        "extra_content": signature,
        "function": {"strictness": 1},
        "note": "n",
    }


def test_what_a_provider_adds_may_come_in_pieces_and_no_null_takes_it_away() -> None:
    additions: list[Any] = [
        {"google": {"thought_signature": "abc", "budget": None}},
        {"google": {"budget": 1}},
        None,
        {"google": None, "other": [2]},
    ]
    calls = CallsInPieces()
    for number, each in enumerate(additions):
        function = {"name": "look", "arguments": "{}"} if not number else {"note": number}
        piece = {"index": 0, "extra_content": each, "function": function}
        for added in Delta(tool_calls=[piece]).calls:
            calls.add(added)
    (call,) = calls.finished()
    assert call.extra == {
        "extra_content": {
            "google": {"thought_signature": "abc", "budget": 1},
            "other": [2],
        },
        "function": {"note": 3},
    }


def test_arguments_that_are_nested_too_deeply_begin_no_other_call() -> None:
    deep = "[" * 100_000
    pieces = (None, None, "look", deep), (None, None, "look", "]")
    assert [call[2] for call in assembled(*pieces)] == [f"{deep}]"]


def test_a_name_that_is_repeated_within_arguments_begins_no_call() -> None:
    pieces = (None, None, "look", '{"at"'), (None, None, "look", ": 1}")
    assert [call[1:] for call in assembled(*pieces)] == [("look", '{"at": 1}')]
