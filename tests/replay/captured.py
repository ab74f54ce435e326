"""Calls that are captured in virtual time, to be replayed."""

from pathlib import Path
from typing import Any

from mediaserver.captures.capture_file import read_capture
from mediaserver.replay.captured_call import CapturedCall
from mediaserver.settings import Settings
from mediaserver.testing import JoinedCall, joined, run_virtual


def captured(folder: Path, handler: Any, script: Any, **options: Any) -> Path:
    """Capture a call in which the caller follows a script, and return the file."""
    settings = Settings.model_construct(capture=folder, **options.pop("settings", {}))

    async def talk() -> None:
        async with joined(handler, settings=settings, **options) as line:
            await script(line)

    run_virtual(talk())
    (path,) = folder.glob("*.wire.zst")
    return path


def captured_call(folder: Path, handler: Any, script: Any, **options: Any) -> CapturedCall:
    """The same, read."""
    return CapturedCall.read(read_capture(captured(folder, handler, script, **options)))


async def two_seconds(line: JoinedCall) -> None:
    """A caller that says nothing."""
    await line.phone.wait_until(2.0)
