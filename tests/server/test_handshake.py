import time

import pytest

from mediaserver.agents import Echo
from mediaserver.handler import Route
from mediaserver.server.handshake import Accepted, HandshakeRequest, Refused, examine
from mediaserver.server.tokens import Claims, seal


SECRET = "sixteen letters and more"


def token(call_id="call-1", caller="+1415", called="14155550100", expires=None, secret=SECRET):
    return seal(Claims(call_id, caller, called, expires or int(time.time()) + 60), secret)


def ask(query="", path="/stream", **more):
    return HandshakeRequest(path, query, **more)


@pytest.fixture
async def runtime(start_runtime):
    return await start_runtime(secret=SECRET, max_calls=1)


async def test_without_a_token_nobody_is_known(runtime):
    accepted = examine(runtime, ask())
    assert isinstance(accepted, Accepted)
    assert (accepted.call_id, accepted.caller, accepted.called) == (None, None, None)
    assert accepted.route.name == "Echo"
    assert runtime.admission.active == 1


async def test_a_token_says_who_calls(runtime):
    accepted = examine(runtime, ask(f"token={token()}&a=1&b=&c=x+y%2Bz"))
    assert (accepted.call_id, accepted.caller, accepted.called) == (
        "call-1",
        "+1415",
        "14155550100",
    )
    assert accepted.query == {"a": "1", "b": "", "c": "x y+z"}


async def test_a_reserved_place_is_taken(runtime):
    runtime.admission.reserve("call-1")
    assert isinstance(examine(runtime, ask()), Refused)
    accepted = examine(runtime, ask(f"token={token()}"))
    accepted.slot.release()
    assert runtime.admission.idle


async def test_an_unknown_path_is_refused_before_anything_else(runtime):
    refused = examine(runtime, ask("token=nonsense", path="/elsewhere"))
    assert (refused.status, refused.cause) == (404, "path")
    assert "/elsewhere" in refused.reason


@pytest.mark.parametrize(
    "bad",
    ["", "nonsense", token(expires=1), token(secret="another secret altogether")],
)
async def test_a_token_that_does_not_hold_is_refused(runtime, bad):
    refused = examine(runtime, ask(f"token={bad}"))
    assert (refused.status, refused.cause) == (403, "token")
    assert runtime.admission.idle


async def test_a_full_server_says_when_to_try_again(runtime):
    examine(runtime, ask())
    refused = examine(runtime, ask())
    assert (refused.status, refused.cause) == (503, "full")
    assert dict(refused.headers)["retry-after"] == "5"


async def test_a_draining_server_lets_in_only_calls_that_were_answered(runtime):
    runtime.admission.close()
    assert examine(runtime, ask()).cause == "draining"
    assert isinstance(examine(runtime, ask(f"token={token()}")), Accepted)


async def test_a_verifier_may_refuse(runtime):
    refusal = Refused(403, "no signature")
    seen = []

    def verify(request):
        seen.append(request)
        return refusal

    request = ask()
    assert examine(runtime, request, verifiers=[verify]) is refusal
    assert seen == [request]
    assert runtime.admission.idle


async def test_verifiers_that_are_content_let_in(runtime):
    accepted = examine(runtime, ask(), verifiers=[lambda request: None, lambda request: None])
    assert isinstance(accepted, Accepted)


async def test_the_dialled_number_of_the_token_finds_the_route(start_runtime):
    async def sales(stream): ...

    runtime = await start_runtime(
        Route(sales, number="+14155550100"), Route(Echo, number="+1999"), secret=SECRET
    )
    assert examine(runtime, ask(f"token={token()}")).route.handler is sales
    refused = examine(runtime, ask())
    assert (refused.status, refused.cause) == (404, "path")


async def test_the_client_is_seen_through_trusted_proxies(start_runtime):
    runtime = await start_runtime(trusted_proxies="10.0.0.0/8")
    headers = [("x-forwarded-for", "198.51.100.4")]
    assert examine(runtime, ask(headers=headers, client_host="10.1.1.1")).client == "198.51.100.4"
