"""Where a task stands, for messages about tasks that do not end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any


def standing(task: asyncio.Task[Any]) -> str:
    """Return a task's name and the lines that it waits at, outermost first."""
    lines = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        # A coroutine, an async generator and a generator each call these by names of their own.
        for prefix in ("cr", "ag", "gi"):
            if (frame := getattr(awaited, f"{prefix}_frame", None)) is not None:
                file = Path(frame.f_code.co_filename).name
                lines.append(f"{file}:{frame.f_lineno} {frame.f_code.co_qualname}")
                awaited = getattr(awaited, "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await")
                break
        else:
            break
    return f"{task.get_name()!r} waits at {' → '.join(lines) or 'its end'}"
