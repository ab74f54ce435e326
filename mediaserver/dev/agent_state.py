"""How the agent's server under development is: what the page shows of it."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec


Running: TypeAlias = Literal["starting", "ready", "failed", "stopped"]
"""``failed``: its process has ended by itself, and is started again when a file changes;
``stopped``: the command ends."""

MOST_LINES: Final = 40
"""Lines of what the process wrote last that are kept, to say why it has ended."""

_OURS: Final = "mediaserver: "
"""How lines begin in which a command says what is wrong."""

_FAILED_START: Final = re.compile(r"startup failed\s+reason=['\"](.*)['\"]$")
"""The line of the log that says why a handler cannot be prepared."""


class AgentState(msgspec.Struct, frozen=True, kw_only=True):
    """How the agent's server is."""

    state: Running = "starting"
    spec: str = ""
    """The handlers that it serves, as they were named on the command line."""
    problem: str = ""
    """Why it is not ready, in lines; empty if nothing is wrong."""
    starts: int = 0
    """How often it has been started."""


def encode_state(state: AgentState) -> bytes:
    """Return the line that tells the page of a state, with its line break."""
    return msgspec.json.encode({"what": "agent", **msgspec.to_builtins(state)}) + b"\n"


def reason_of_end(written: Sequence[str], status: int) -> str:
    """Say why a process has ended.

    Args:
        written: what it wrote last to standard error, line by line.
        status: its exit status; if a signal ended it, the negative number of the signal.

    """
    said = [line.removeprefix(_OURS) for line in written if line.startswith(_OURS)]
    said = said or [found[1] for line in written if (found := _FAILED_START.search(line))]
    if said:
        return "\n".join(said)
    end = f"the signal {_signal_name(-status)}" if status < 0 else f"the status {status}"
    return "\n".join([f"the agent's server has ended with {end}", *written]).rstrip()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # One of the real-time signals.
        return str(number)
