"""Options of other servers' commands, and where their purpose is found here."""

from __future__ import annotations

from typing import Final


_TRUST: Final = "Name the proxies with --trusted-proxies."
_STOP: Final = "How long a stop takes is set by --drain-timeout."

ELSEWHERE: Final = {
    "--bind": "Use --host and --port.",
    "--proxy-headers": _TRUST,
    "--forwarded-allow-ips": _TRUST,
    "--root-path": "Give the URL at which Plivo reaches the server with --public-url.",
    "--limit-concurrency": "Use --max-calls.",
    "--ws-max-size": "Use --max-message-bytes.",
    "--ws-ping-interval": "Use --ping-interval.",
    "--ws-ping-timeout": "Use --dead-peer-timeout.",
    "--timeout-keep-alive": "Use --idle-timeout.",
    "--timeout-graceful-shutdown": _STOP,
    "--graceful-timeout": _STOP,
    "--log-config": "Use --log-level and --log-format.",
    "--env-file": "Set the environment, or write a TOML file for --config.",
    "--app-dir": "Name the file, as in serve folder/my_agent.py.",
    "--factory": "Name a handler, or a Routes object.",
}
"""What to say, by the option."""
