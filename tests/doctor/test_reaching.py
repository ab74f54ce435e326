import sys
import threading

import pytest

from mediaserver.doctor.reaching import client_for, in_a_thread, upgrade


async def test_a_result_comes_out_of_the_thread() -> None:
    assert await in_a_thread(threading.current_thread) is not threading.current_thread()


async def test_an_error_comes_out_of_the_thread() -> None:
    with pytest.raises(ValueError, match="abc"):
        await in_a_thread(lambda: int("abc"))


async def test_an_exit_becomes_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"sys\.exit\(3\)"):
        await in_a_thread(lambda: sys.exit(3))


async def test_no_redirect_is_followed() -> None:
    async with client_for("https://voice.example.com") as client:
        assert not client.follow_redirects


async def test_the_reply_to_an_upgrade_is_read(start_server: object) -> None:
    assert callable(start_server)
    port = await start_server()
    status, text = await upgrade(f"http://127.0.0.1:{port}/nowhere", {})
    assert status == 404
    assert "no handler at /nowhere" in text


async def test_an_upgrade_that_is_granted_is_not_waited_for(start_server: object) -> None:
    assert callable(start_server)
    port = await start_server()
    assert await upgrade(f"http://127.0.0.1:{port}/stream", {}) == (101, "")
