import msgspec
import pytest

from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.server import answered
from mediaserver.server.answered import AnsweredCalls
from mediaserver.server.remembered import ENTRY_BYTES
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


def test_details_are_kept_for_a_while_and_the_end_of_a_call_for_longer() -> None:
    now = [0.0]
    calls = AnsweredCalls(60, clock=lambda: now[0])
    calls.add(AnswerRequest(call_id="call-1", forwarded_from="+1417"))
    calls.end("call-2")
    now[0] = 59.9
    assert calls.request(CLAIMS).forwarded_from == "+1417"
    now[0] = 60.0
    assert calls.request(CLAIMS).forwarded_from is None
    now[0] = 659.9
    assert calls.has_ended("call-2")
    now[0] = 660 * 9 / 8
    assert not calls.has_ended("call-2")


def test_the_ends_of_many_calls_are_known() -> None:
    calls = AnsweredCalls(300, clock=lambda: 0.0)
    for number in range(20_000):
        calls.end(f"call-{number}")
    assert calls.has_ended("call-0")
    # 600 calls a second, until ten minutes after their tokens of five.
    most = answered._ENDED_BYTES / ENTRY_BYTES  # noqa: SLF001
    assert most * 7 / 8 > 600 * 900


def test_the_oldest_requests_are_forgotten_where_their_memory_is_used_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answered, "_NEWEST_BYTES", 20_000)
    monkeypatch.setattr(answered, "_PACKED_BYTES", 60_000)
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
    monkeypatch.setattr(answered, "_NEWEST_BYTES", 1_000)
    calls = make()
    calls.add(AnswerRequest.parse({"CallUUID": "call-1", "X-PH-a": "x" * 4_000}))
    assert not calls.request(CLAIMS).fields


PLIVOS = {"From": "14155550100", "To": "14155550199", "Direction": "inbound", "X-PH-a": "ä=b"}


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave room for one of the newest requests."""
    monkeypatch.setattr(answered, "_NEWEST_BYTES", 3_000)


@pytest.mark.usefixtures("little_room")
def test_a_request_that_was_packed_is_the_same() -> None:
    calls = make()
    requests = [AnswerRequest.parse({"CallUUID": f"call-{n}"} | PLIVOS) for n in range(5)]
    for request in requests:
        calls.add(request)
    for n, request in enumerate(requests):
        assert calls.request(Claims(f"call-{n}", None, None, 0)) == request


@pytest.mark.usefixtures("little_room")
def test_of_a_call_that_is_over_the_packed_request_is_gone_as_well() -> None:
    calls = make()
    for n in range(5):
        calls.add(AnswerRequest.parse({"CallUUID": f"call-{n}"} | PLIVOS))
    calls.end("call-1")
    assert not calls.request(CLAIMS).fields


@pytest.mark.usefixtures("little_room")
def test_a_later_request_of_the_same_call_counts() -> None:
    calls = make()
    for n in range(5):
        calls.add(AnswerRequest.parse({"CallUUID": f"call-{n}"} | PLIVOS))
    calls.add(AnswerRequest.parse({"CallUUID": "call-1"} | PLIVOS | {"From": "14155550111"}))
    assert calls.request(CLAIMS).caller == "14155550111"


def test_requests_of_many_calls_are_kept_for_as_long_as_their_tokens() -> None:
    # Of 600 calls a second, for five minutes, as far as their own estimate tells.
    fields = {f"Field{n}": "x" * 16 for n in range(12)} | PLIVOS | {"CallUUID": "x" * 36}
    size = len(msgspec.msgpack.encode(fields)) + answered._PACKED_OVERHEAD  # noqa: SLF001
    assert answered._PACKED_BYTES / size > 600 * 300  # noqa: SLF001
