import httpx
import pytest

from mediaserver.dev.unserved_call import why_unserved


CALLED = "+14155550123"

ROUTES = [
    {"path": "/sales", "handler": "Sales"},
    {"path": "/vip", "handler": "Vip", "number": "+14155550199"},
    {"path": "/t/{tenant}", "handler": "Tenant"},
]
THERE = "there is /sales, /vip for +14155550199, /t/{tenant}"


async def why(path: str, *, answer: httpx.Response | None = None, called: str = CALLED) -> str:
    found = answer or httpx.Response(200, json={"workers": [{"worker": "1", "routes": ROUTES}]})
    transport = httpx.MockTransport(lambda _: found)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as admin:
        return await why_unserved(admin, called, path)


async def test_a_path_that_no_handler_has_is_named_with_those_that_there_are() -> None:
    assert await why("/support") == f"no handler takes the path /support; {THERE}"


async def test_a_path_may_be_for_another_number() -> None:
    said = f"no handler takes the path /vip with the number {CALLED}; {THERE}"
    assert await why("/vip") == said
    assert await why("/vip", called="14155550199") == ""


@pytest.mark.parametrize("path", ["/sales", "/sales/", "/t/acme", ""])
async def test_what_a_handler_takes_has_another_reason(path: str) -> None:
    assert await why(path) == ""


async def test_without_a_path_the_number_tells() -> None:
    answer = httpx.Response(200, json={"workers": [{"routes": ROUTES[1:]}]})
    said = await why("", answer=answer)
    assert said.startswith(f"no handler takes the number {CALLED}; there is /vip for")


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(503, text="no"), httpx.Response(200, json={"workers": []})],
)
async def test_what_is_not_known_is_not_said(answer: httpx.Response) -> None:
    assert await why("/support", answer=answer) == ""


async def test_a_server_that_is_gone_says_nothing() -> None:
    def gone(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no such socket")

    transport = httpx.MockTransport(gone)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as admin:
        assert await why_unserved(admin, CALLED, "/support") == ""
