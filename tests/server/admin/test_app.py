import json

from httpx import AsyncClient
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mediaserver.server.admin.commands import (
    CallPage,
    Delivery,
)
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.settings import Settings
from mediaserver.testing import run_virtual
from tests.server.admin.live import (
    Answering,
    client_of,
)


async def test_who_has_no_access_is_told_and_written_down(directory: OwnCalls) -> None:
    settings = Settings(admin="0.0.0.0:8001", admin_token="sixteen-characters")  # type: ignore[arg-type]
    async with client_of(directory, settings, client=("192.0.2.7", 1)) as client:
        with capture_logs() as logged:
            response = await client.post("/reload")
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert set(response.json()) == {"error", "hint"}
        (line,) = logged
        assert (line["event"], line["by"]) == ("operator request denied", "192.0.2.7")
        headers = {"authorization": "Bearer sixteen-characters"}
        assert (await client.post("/reload", headers=headers)).status_code == 200


async def test_a_path_that_does_not_exist_says_what_does(client: AsyncClient) -> None:
    response = await client.get("/answer")
    assert response.status_code == 404
    assert response.json()["error"] == "there is no /answer"
    assert "/calls/{id}/hangup" in response.json()["hint"]


async def test_a_wrong_method_says_which_is_right(client: AsyncClient) -> None:
    response = await client.get("/reload")
    assert response.status_code == 405
    assert response.json() == {"error": "GET is not for this path", "hint": "it takes POST"}
    assert response.headers["allow"] == "POST"


async def test_a_bug_is_an_error_as_json() -> None:
    async with client_of(Answering()) as client:
        response = await client.post("/reload")
    assert response.status_code == 500
    assert "log" in response.json()["hint"]


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
    path=st.lists(
        st.sampled_from(["calls", "call-1", "say", "transfer", "nodes", "drain", "%00", "..", "é"]),
        max_size=4,
    ),
    query=st.text(max_size=20),
    body=st.one_of(
        st.binary(max_size=20),
        st.dictionaries(
            st.sampled_from(["text", "url"]), st.one_of(st.text(max_size=9), st.none())
        ).map(lambda fields: json.dumps(fields).encode()),
    ),
)
@settings_of(max_examples=40)
def test_no_request_is_too_odd_for_an_answer_in_json(
    method: str, path: list[str], query: str, body: bytes
) -> None:
    async def ask() -> None:
        directory = Answering(Delivery("done"), CallPage([], 0))
        async with client_of(directory) as client:
            url = f"/{'/'.join(path)}"
            response = await client.request(method, url, params={"q": query}, content=body)
            assert response.status_code < 500, response.text
            if method != "HEAD":
                assert isinstance(response.json(), dict)

    run_virtual(ask())
