import re
from pathlib import Path

import pytest

import mediaserver.server.server_call
from mediaserver.server.ended_calls import EndedCalls, cause_of_end
from mediaserver.server.handler_labels import HandlerLabels


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("stop", "plivo"),
        ("Plivo closed the socket (1000)", "plivo"),
        ("", "plivo"),
        ("the handler failed", "handler_error"),
        ("the handler returned", "handler"),
        ("the connection was lost: broken pipe", "lost"),
        ("nothing came for 30 s", "lost"),
        ("the connection fell silent, and the stream was opened again", "lost"),
        ("a stream was opened with this signature before", "refused"),
        ("the caller was silent for 900 s", "limit"),
        ("too many messages: more than 2 a second and a burst of 100", "limit"),
        ("the server is shutting down", "shutdown"),
    ],
)
def test_a_reason_has_a_cause(reason: str, cause: str) -> None:
    assert cause_of_end(reason) == cause


def test_the_reasons_of_a_call_are_known() -> None:
    code = Path(mediaserver.server.server_call.__file__).read_text("utf-8")
    reasons = re.findall(r'reason = f?"([^"{]+)', code) + re.findall(
        r'fail\(\s*[\w.]+, f?"([^"{]+)', code
    )
    own = {each for each in reasons if not each.startswith("the call is over")}
    assert len(own) > 5
    assert {each for each in own if cause_of_end(each) == "plivo"} == set()


def test_calls_are_counted_by_handler() -> None:
    ended = EndedCalls()
    ended.count("Echo", "stop", 5.0)
    ended.count("Echo", "the handler failed", 65.0)
    ended.count("Menu", "stop", 7200.0)
    assert ended.causes == {
        ("Echo", "plivo"): 1,
        ("Echo", "handler_error"): 1,
        ("Menu", "plivo"): 1,
    }
    assert ended.lengths["Echo"].counts == [1, 0, 0, 1, 0, 0, 0, 0, 0]
    assert ended.lengths["Echo"].sum == 70
    assert ended.lengths["Menu"].counts[-1] == 1


def test_known_handlers_begin_with_0_for_each_cause() -> None:
    ended = EndedCalls(HandlerLabels(["Echo"]))
    assert len(ended.causes) > 5
    assert ended.causes.total() == 0
    assert {handler for handler, _ in ended.causes} == set(ended.lengths) == {"Echo"}
    assert ended.causes.keys() >= {("Echo", "plivo"), ("Echo", "handler_error")}
