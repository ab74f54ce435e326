from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from audiocodecs import Wav, read_wav
from mediaserver.sandbox.webhooks import Target
from tests.sandbox.conftest import OnPlatform


def test_a_recording_ends_after_its_longest_time(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[Any, Wav, str]:
        call = await platform.answered()
        callback = Target(platform.customer.target("/recorded"))
        recording = call.start_recording(5, callback)
        await recording.stopped.wait()
        await recording.stop()
        await platform.exchange.services.webhooks.delivered()
        (told,) = platform.customer.at("/recorded")
        return told, read_wav(platform.exchange.services.recording_path(recording.id)), recording.id

    told, wav, recording_id = on_platform(scenario)

    assert (wav.seconds, wav.rate) == (pytest.approx(5, abs=0.03), 16_000)
    assert told.event == "RecordStop"
    assert told.params["RecordingID"] == recording_id
    assert told.params["RecordingDuration"] == "5"


def test_a_recording_can_be_had_from_its_url(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> tuple[int, str, int, int]:
        call = await platform.answered()
        recording = call.start_recording(60)
        await asyncio.sleep(1)
        await recording.stop()
        size = platform.exchange.services.recording_path(recording.id).stat().st_size
        transport = httpx.ASGITransport(platform.sandbox.app)
        async with httpx.AsyncClient(transport=transport) as client:
            missing = await client.get(recording.url.replace(recording.id[:8], "00000000"))
            outside = await client.get("http://h/recordings/..%2Fsecret.wav")
        return size, recording.url, missing.status_code, outside.status_code

    size, url, missing, outside = on_platform(scenario)

    assert size == pytest.approx(16_000 * 4, rel=0.05)
    assert url.endswith(".wav")
    assert (missing, outside) == (404, 404)


def test_a_recording_that_cannot_be_written_does_the_call_no_harm(
    on_platform: OnPlatform, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    async def scenario(platform: Any) -> Any:
        call = await platform.answered()
        recording = call.start_recording(60)
        await recording.stop()
        return call.over

    assert not on_platform(scenario, options={"recordings": tmp_path / "file"})
