"""Autobahn's fuzzing client against an echo on the server's WebSocket, and against websockets.

    python -m benchmarks.autobahn [--cases 1.* 2.* …] [--folder FOLDER]

Autobahn's test suite is the PyPI package ``autobahntestsuite``, which needs Python 2.7. Without
one, from pyenv or on the PATH, the command says so and ends with status 0. The package is installed
into FOLDER, where its reports go as well. No case may end worse than with websockets; else, the
status is 1. Compression is offered by neither, so its cases (12 and 13) are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from mediaserver.agents import Echo
from mediaserver.routes import Route, Routes
from mediaserver.server.connection import StreamConnection
from mediaserver.server.handshake import Refused
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings


OURS: Final = "mediaserver"
THEIRS: Final = "websockets"
CASES: Final = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*")
_PACKAGE: Final = "autobahntestsuite==25.10.1"
_MAX_SIZE: Final = 1 << 25
_LONGEST: Final = 3_600.0
"""Seconds that all cases may take; they take minutes."""
_RANKS: Final = {"OK": 0, "INFORMATIONAL": 0, "NON-STRICT": 1, "UNIMPLEMENTED": 2}
"""How good a behaviour is; those that are not here, such as FAILED, are the worst."""


class EchoConnection(StreamConnection):
    """A connection whose call sends each message back."""

    def _let_in(self, target: str, headers: Sequence[tuple[str, str]]) -> Refused | None:
        self._call = cast(Any, _EchoCall(self))
        self._open = True
        return None

    def send_binary(self, message: bytes) -> None:
        """Send a binary message, which no call of Plivo's needs."""
        if self._open:
            self._ws.send_binary(message)
            self._flush()


class _EchoCall:
    """What a connection asks of its call, and of the session and the budget of that."""

    def __init__(self, link: EchoConnection) -> None:
        self._link = link
        self.heard_from = True
        self.session = self
        self.budget = self

    def receive(self, message: bytes) -> None:
        try:
            message.decode()
        except UnicodeDecodeError:
            self._link.close(CloseCode.INVALID_DATA, "the message is not UTF-8")
        else:
            self._link.send_text(message)

    def spend(self, messages: int, size: int) -> bool:
        return True

    def ignore(self, *_: object) -> None:
        """Do nothing: an echo has no state."""

    ponged = lost = block = unblock = closing = stuffed = overspend = ignore


class _BinaryEcho(EchoConnection):
    def _take_message(self, message: bytes, *, is_text: bool) -> None:
        if is_text:
            super()._take_message(message, is_text=True)
        else:
            self.send_binary(message)


async def _echo(connection: ServerConnection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass


async def run(python: str, folder: Path, cases: Sequence[str]) -> int:
    """Run the cases against both servers, print how they ended, and return the exit status."""
    # The reports of an earlier run must not be judged in place of this one's.
    reports = folder / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    settings = Settings(max_message_bytes=_MAX_SIZE, stream_bytes_per_second=1e9)
    runtime = Runtime(settings, Routes(Route(Echo)))
    loop = asyncio.get_running_loop()
    ours = await loop.create_server(lambda: _BinaryEcho(runtime), "127.0.0.1", 0)
    theirs = await serve(
        _echo, "127.0.0.1", 0, max_size=_MAX_SIZE, compression=None, ping_interval=None
    )
    async with ours, theirs:
        servers = [
            {"agent": name, "url": f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"}
            for name, server in ((OURS, ours), (THEIRS, theirs))
        ]
        spec = {"outdir": str(reports), "servers": servers, "cases": list(cases)}
        (folder / "spec.json").write_text(json.dumps({**spec, "exclude-cases": []}))
        start = (
            f"import sys; sys.path.insert(0, {str(folder / 'site')!r});"
            "from autobahntestsuite.wstest import run; run()"
        )
        command = [python, "-c", start, "-m", "fuzzingclient", "-s", str(folder / "spec.json")]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, cwd=folder
        )
        try:
            async with asyncio.timeout(_LONGEST):
                status = await process.wait()
        except TimeoutError:
            print(f"Autobahn's test suite was not over within {_LONGEST / 60:g} minutes")
            return 1
        finally:
            if process.returncode is None:
                process.kill()
    index = reports / "index.json"
    if status or not index.exists():
        print(f"Autobahn's test suite ended with status {status} before it had tried all cases")
        return 1
    report = json.loads(index.read_text("utf-8"))
    return judge(report[OURS], report[THEIRS])


def judge(ours: dict[str, Any], theirs: dict[str, Any]) -> int:
    """Print how the cases of both ended, and return 1 if one of ours is worse."""
    for name, cases in ((OURS, ours), (THEIRS, theirs)):
        counts = Counter(case["behavior"] for case in cases.values())
        print(f"{name:12} {', '.join(f'{count} {how}' for how, count in counts.most_common())}")
    worse = [
        f"{case}: {part} is {ended[part]}, of {THEIRS} {theirs[case][part]}"
        for case, ended in sorted(ours.items())
        for part in ("behavior", "behaviorClose")
        if _rank(ended[part]) > _rank(theirs[case][part])
    ]
    print("\n".join(worse) or f"no case of {len(ours)} is worse than with {THEIRS}")
    return 1 if worse else 0


def _rank(behaviour: str) -> int:
    return _RANKS.get(behaviour, 3)


def python2() -> str | None:
    """Return a Python 2.7, from the PATH or from pyenv; None if neither has one."""
    versions = sorted(map(str, Path.home().glob(".pyenv/versions/2.7.*/bin/python2.7")))
    for found in (shutil.which("python2.7"), *reversed(versions)):
        # pyenv has a command for it on the PATH, which may start nothing.
        if found and not subprocess.run([found, "-c", ""], stderr=subprocess.DEVNULL).returncode:
            return found
    return None


def install(python: str, folder: Path) -> None:
    """Install Autobahn's test suite, if it is not there."""
    site = folder / "site"
    if (site / "autobahntestsuite").exists():
        return
    command = [python, "-m", "pip", "install", "--quiet", "--target", str(site), _PACKAGE]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    # pip makes no package of a namespace that it installs by --target.
    (site / "zope").mkdir(exist_ok=True)
    (site / "zope/__init__.py").touch()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autobahn")
    parser.add_argument("--cases", nargs="+", default=CASES, help="such as 1.* 9.1.*")
    parser.add_argument("--folder", type=Path, default=Path(".autobahn"))
    options = parser.parse_args()
    python = python2()
    if python is None:
        print(
            "skipped: Autobahn's test suite needs Python 2.7; install it as python2.7 on the PATH"
        )
        return 0
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    install(python, folder)
    return asyncio.run(run(python, folder, options.cases))


if __name__ == "__main__":
    sys.exit(main())
