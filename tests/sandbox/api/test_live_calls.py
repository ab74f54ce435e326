from __future__ import annotations

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient

from tests.sandbox.api.conftest import OnApi, call_in_progress


def test_a_live_call_is_spoken_to(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        answer = await api.post(f"Call/{uuid}/Speak/", json={"text": "Hello there"})
        await asyncio.sleep(5)
        stopped = await api.delete(f"Call/{uuid}/Speak/")
        return answer, stopped.status_code

    answer, stopped = on_api(scenario)

    assert (answer.status_code, answer.json()["message"]) == (202, "speech started")
    assert stopped == 204


def test_a_live_call_is_sent_digits(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        answer = await api.post(f"Call/{uuid}/DTMF/", json={"digits": "42"})
        await asyncio.sleep(1)
        line = platform.exchange.calls[uuid].line
        return answer, [key.digit for key in line.handset.digits_heard]

    answer, heard = on_api(scenario)

    assert (answer.status_code, heard) == (202, ["4", "2"])


def test_a_live_call_is_recorded(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        begun = (await api.post(f"Call/{uuid}/Record/", json={"time_limit": 30})).json()
        await asyncio.sleep(4)
        stopped = await api.delete(f"Call/{uuid}/Record/")
        path = platform.exchange.services.recording_path(begun["recording_id"])
        return begun, stopped.status_code, path.stat().st_size

    begun, stopped, size = on_api(scenario)

    assert begun["message"] == "call recording started"
    assert begun["recording_id"] in begun["url"]
    assert stopped == 204
    assert size == pytest.approx(4 * 16_000 * 4, rel=0.05)


def test_a_live_call_is_played_to(on_api: OnApi) -> None:
    async def scenario(platform: Any, api: AsyncClient) -> Any:
        uuid = await call_in_progress(platform, api)
        url = platform.customer.target("/music.wav")
        answer = await api.post(f"Call/{uuid}/Play/", json={"urls": url})
        await asyncio.sleep(1)
        return answer.status_code, len(platform.customer.at("/music.wav"))

    assert on_api(scenario) == (202, 1)
