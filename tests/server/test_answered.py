import pytest

from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.server import answered
from mediaserver.server.answered import AnsweredCalls
from mediaserver.server.trust.tokens import Claims


CLAIMS = Claims("call-1", "+1415", "+1416", 0, "inbound")


def make() -> AnsweredCalls:
    return AnsweredCalls(60, clock=lambda: 0.0)


def test_a_call_that_was_answered_here_is_known_in_full() -> None:
    calls = make()
    request = AnswerRequest(call_id="call-1", caller="+1415", forwarded_from="+1417")
    calls.add(request)
    assert calls.request(CLAIMS) is request


def test_a_call_that_was_answered_elsewhere_is_known_by_its_token() -> None:
    assert make().request(CLAIMS) == AnswerRequest(
        call_id="call-1", caller="+1415", called="+1416", direction="inbound"
    )


def test_a_call_that_is_over_stays_over() -> None:
    calls = make()
    assert not calls.has_ended("call-1")
    calls.end("call-1")
    assert calls.has_ended("call-1")
    calls.add(AnswerRequest(call_id="call-1"))
    assert calls.has_ended("call-1")


def test_nothing_more_is_known_of_a_call_that_is_over() -> None:
    calls = make()
    calls.add(AnswerRequest(call_id="call-1", forwarded_from="+1417"))
    calls.end("call-1")
    assert calls.request(CLAIMS).forwarded_from is None


def test_details_are_kept_for_a_while_and_the_end_of_a_call_for_an_hour() -> None:
    now = [0.0]
    calls = AnsweredCalls(60, clock=lambda: now[0])
    calls.add(AnswerRequest(call_id="call-1", forwarded_from="+1417"))
    calls.end("call-2")
    now[0] = 59.9
    assert calls.request(CLAIMS).forwarded_from == "+1417"
    now[0] = 60.0
    assert calls.request(CLAIMS).forwarded_from is None
    now[0] = 3_599.9
    assert calls.has_ended("call-2")
    now[0] = 3_600.0
    assert not calls.has_ended("call-2")


def test_the_ends_of_many_calls_are_known() -> None:
    # 200 calls a second, for as long as a token of five minutes is valid.
    calls = AnsweredCalls(300, clock=lambda: 0.0)
    for number in range(60_000):
        calls.end(f"call-{number}")
    assert calls.has_ended("call-0")


def test_the_oldest_requests_are_forgotten_where_their_memory_is_used_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answered, "_REQUEST_BYTES", 100_000)
    calls = make()
    for number in range(20):
        fields = {"CallUUID": f"call-{number}", "X-PH-a": "x" * 9_000}
        calls.add(AnswerRequest.parse(fields))

    def known(number: int) -> bool:
        return bool(calls.request(Claims(f"call-{number}", None, None, 0)).fields)

    kept = [known(number) for number in range(20)]
    assert 5 <= sum(kept) <= 10
    assert kept == sorted(kept)


def test_one_request_that_is_larger_than_the_memory_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answered, "_REQUEST_BYTES", 1_000)
    calls = make()
    calls.add(AnswerRequest.parse({"CallUUID": "call-1", "X-PH-a": "x" * 4_000}))
    assert not calls.request(CLAIMS).fields
