"""What a task waits for, as a line of code."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, Final


_KINDS: Final = (("cr", "await"), ("ag", "await"), ("gi", "yieldfrom"))
"""Coroutines, asynchronous generators and generators, by what their attributes begin with."""

_MACHINERY: Final = ("/asyncio/", "/contextlib.py")


def awaited_at(task: asyncio.Task[Any]) -> str:
    """Return where a suspended task waits, such as ``my_agent.py:12 in lifespan``.

    It is the innermost line outside of asyncio; empty if there is none.
    """
    place = ""
    waits: Any = task.get_coro()
    while waits is not None:
        for kind, below in _KINDS:
            frame = getattr(waits, f"{kind}_frame", None)
            if frame is not None:
                code = frame.f_code
                file = code.co_filename.replace("\\", "/")
                if not any(part in file for part in _MACHINERY):
                    place = f"{file.rpartition('/')[2]}:{frame.f_lineno} in {code.co_name}"
                waits = getattr(waits, f"{kind}_{below}")
                break
        else:
            # `anext()` of a generator, as contextlib calls it, names the generator nowhere else.
            inside = gc.get_referents(waits)
            waits = next((each for each in inside if hasattr(each, "ag_frame")), None)
    return place
