from mediaserver.plivo.callbacks import AnswerRequest
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


def test_the_oldest_call_is_forgotten_where_there_are_too_many() -> None:
    calls = make()
    for number in range(10_001):
        calls.end(f"call-{number}")
    assert not calls.has_ended("call-0")
    assert calls.has_ended("call-1")
    assert calls.has_ended("call-10000")
