"""The command line and the environment of the agent's server."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from mediaserver.settings import flag_of


_MODULE: Final = "mediaserver.dev.agent_process"

_FIXED: Final[Mapping[str, str]] = {
    "host": "127.0.0.1",
    # One process, reached over loopback alone, whatever production uses.
    "workers": "0",
    "redis": "off",
    "node_address": "off",
    "ssl_certfile": "off",
    "ssl_keyfile": "off",
    "metrics": "auto",
    "log_format": "console",
    # A developer who has just saved a file does not want to wait for calls to end.
    "drain_delay": "0",
    "drain_timeout": "0",
    # Trial calls do not belong among those of customers.
    "records": "off",
    "records_webhook": "off",
    "records_prices": "off",
    "status_callback_url": "",
    # What one has said to one's own machine can be looked at and heard again.
    "capture_share": "1",
    "capture_redact": "",
}
"""Settings that are the same in every development server; they precede those of the file and the
environment."""


def agent_command(
    specs: Sequence[str], *, port: int, admin: Path, captures: Path, config: Path | None = None
) -> list[str]:
    """Return the command that serves the agent.

    Args:
        specs: name the handlers, as for ``serve``.
        port: where it listens on loopback.
        admin: the Unix socket of its admin listener.
        captures: the folder in which the wire of its calls is kept.
        config: the file of settings, if not the one in the working directory.

    """
    fixed = {
        **_FIXED,
        "port": str(port),
        "public_url": f"http://127.0.0.1:{port}",
        "admin": str(admin),
        "capture": str(captures),
    }
    options = [f"{flag_of(name)}={value}" for name, value in fixed.items()]
    if config is not None:
        options.append(f"--config={config}")
    shown = [
        flag_of(name) for name in ("admin_personal_data", "admin_listen_in", "admin_follow_all")
    ]
    return [sys.executable, "-m", _MODULE, "serve", *options, *shown, "--no-traces", *specs]


def stream_paths(specs: Sequence[str]) -> list[str]:
    """Return the paths of the streams of handlers that are named with one.

    Args:
        specs: name the handlers, as for ``serve``.

    """
    named = [spec.partition("=")[0] for spec in specs if "=" in spec]
    return [place for place in named if place.startswith("/")]


def watched_folders(specs: Sequence[str], working: Path, config: Path | None = None) -> list[Path]:
    """Return the folders whose files the agent consists of: the working one, and those of files.

    Args:
        specs: name the handlers, as for ``serve``.
        working: the working directory.
        config: the file of settings, if not the one in the working directory.

    """
    folders = [working.resolve()]
    if config is not None:
        folders.append((working / config).resolve().parent)
    for spec in specs:
        place = spec.rpartition("=")[2].rpartition(":")[0] or spec.rpartition("=")[2]
        path = (working / place).resolve()
        if ("/" in place or place.endswith(".py")) and path.parent.is_dir():
            folders.append(path.parent)
    return [
        folder
        for index, folder in enumerate(folders)
        if not any(folder.is_relative_to(other) for other in folders[:index])
    ]
