import httpx
import pytest
from starlette.requests import Request

from mediaserver.testing.http_server import Endpoint, RefusedError, ScriptedServer
from mediaserver.testing.replies import At, Disconnect, Hold, HttpReply, Received


class Kitchen(ScriptedServer):
    """Serves soup."""

    def __init__(self) -> None:
        super().__init__()
        self.soup = Endpoint(HttpReply([b"soup"], "text/plain"))

    def reply(self, request: Request, body: bytes, client: int) -> HttpReply:
        if request.url.path != "/soup":
            raise RefusedError(404, f"there is no {request.url.path}")
        return self.soup.reply(Received({}, body, dict(request.headers), client))

    def refusal(self, refused: RefusedError) -> HttpReply:
        return HttpReply([refused.message.encode()], "text/plain", refused.status)


async def test_the_scripted_replies_come_in_order_and_then_the_usual_one() -> None:
    async with Kitchen() as kitchen, httpx.AsyncClient() as client:
        kitchen.soup.will(
            HttpReply([b"to", At(0.001), b"mato"], headers={"x-salt": "1"}),
            lambda request: HttpReply([request.file], status=201),
        )
        url = f"http://{kitchen.address}/soup"
        first = await client.get(url)
        assert (first.text, first.headers["x-salt"]) == ("tomato", "1")
        second = await client.post(url, content=b"leek")
        assert (second.status_code, second.text) == (201, "leek")
        assert (await client.get(url)).text == "soup"
    assert (len(kitchen.soup.received), kitchen.opened) == (3, 1)


async def test_a_refusal_is_worded_by_the_service_and_noted() -> None:
    async with Kitchen() as kitchen, httpx.AsyncClient() as client:
        refused = await client.get(f"http://{kitchen.address}/cake")
    assert (refused.status_code, refused.text) == (404, "there is no /cake")
    assert kitchen.refused == ["there is no /cake"]


async def test_a_reply_can_break_off() -> None:
    async with Kitchen() as kitchen, httpx.AsyncClient() as client:
        kitchen.soup.will(HttpReply([b"to", Disconnect(), b"mato"]))
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            await client.get(f"http://{kitchen.address}/soup")


async def test_a_reply_ends_when_its_client_has_gone() -> None:
    hold = Hold()
    async with Kitchen() as kitchen:
        kitchen.soup.will(HttpReply([b"to", hold]))
        async with (
            httpx.AsyncClient() as client,
            client.stream("GET", f"http://{kitchen.address}/soup") as response,
        ):
            async for _ in response.aiter_bytes():
                await hold.reached.wait()
                break
        await hold.left.wait()
