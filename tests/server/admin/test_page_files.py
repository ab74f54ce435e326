from pathlib import Path

import pytest
from httpx import AsyncClient
from pydantic import SecretStr

from mediaserver.server.admin import page_files
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.settings import Settings
from tests.server.admin.live import client_of


# Files are read in threads.
pytestmark = pytest.mark.real_time


@pytest.fixture(autouse=True)
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve files that do not depend on what the page looks like."""
    (tmp_path / "index.html").write_text("<!doctype html><title>Calls</title>")
    (tmp_path / "page.js").write_text("export const a = 1")
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(page_files, "PAGES", tmp_path)


@pytest.fixture
def view(directory: OwnCalls) -> AsyncClient:
    return client_of(directory)


async def test_the_page_is_there_and_is_nobody_elses(view: AsyncClient) -> None:
    async with view:
        response = await view.get("/view/")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "ws:" not in policy
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_its_modules_are_javascript(view: AsyncClient) -> None:
    async with view:
        response = await view.get("/view/page.js")
    assert response.headers["content-type"].partition(";")[0] in (
        "text/javascript",
        "application/javascript",
    )


@pytest.mark.parametrize(
    "path", ["__init__.py", "nothing.js", "%2e%2e/secret.txt", "..%2fa", "a%00.js"]
)
async def test_nothing_else_is_there(view: AsyncClient, path: str) -> None:
    async with view:
        response = await view.get(f"/view/{path}")
    assert response.status_code == 404
    assert set(response.json()) == {"error", "hint"}


async def test_the_page_is_only_read(view: AsyncClient) -> None:
    async with view:
        response = await view.post("/view/page.js")
    assert response.status_code == 405
    assert "GET" in response.json()["hint"]


async def test_the_page_is_told_what_there_is(directory: OwnCalls, tmp_path: Path) -> None:
    async with client_of(directory) as view:
        response = await view.get("/view/page.json")
    assert response.json() == {
        "mode": "view",
        "title": "Calls",
        "phone": False,
        "audio": False,
        "words": False,
        "past": False,
        "records": False,
        "paths": [],
        "token": False,
    }
    settings = Settings(admin="127.0.0.1:8001", admin_personal_data=True, capture=tmp_path)
    async with client_of(directory, settings) as view:
        facts = (await view.get("/view/page.json")).json()
    assert (facts["audio"], facts["words"], facts["past"]) == (False, True, True)
    assert not facts["records"]
    settings = Settings(admin="127.0.0.1:8001", records=SecretStr(f"sqlite:///{tmp_path}/a.db"))
    async with client_of(directory, settings) as view:
        facts = (await view.get("/view/page.json")).json()
    assert (facts["past"], facts["records"]) == (True, True)
    settings = Settings(admin="127.0.0.1:8001", admin_listen_in=True)
    async with client_of(directory, settings) as view:
        facts = (await view.get("/view/page.json")).json()
    assert (facts["audio"], facts["words"], facts["past"]) == (True, False, False)


async def test_without_the_token_the_page_is_told_only_that_it_is_wanted(
    directory: OwnCalls, tmp_path: Path
) -> None:
    settings = Settings(
        admin="127.0.0.1:8001",
        admin_token=SecretStr("0123456789abcdef"),
        admin_listen_in=True,
        capture=tmp_path,
    )
    async with client_of(directory, settings) as view:
        facts = (await view.get("/view/page.json")).json()
    assert (facts["token"], facts["audio"], facts["past"]) == (True, False, False)
