"""Reads the arguments of a tool call as models write them."""

from __future__ import annotations

import json
from typing import Any


def meant_arguments(text: str) -> str:
    """Return the JSON that a model meant by the arguments of a tool call.

    Some models write ``null``, ``[]`` or nothing for no arguments, and some encode the JSON object
    as a string, once or several times. Text that cannot be read is returned as it is.
    """
    given: Any = text
    while isinstance(given, str):
        text = given.strip()
        if not text:
            return "{}"
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):  # no JSON, or nested too deeply
            return text
    return "{}" if given is None or given == [] else text
