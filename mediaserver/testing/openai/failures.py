"""Scripted failures, as OpenAI words them."""

from __future__ import annotations

import json

from mediaserver.testing.replies import HttpReply


def fails(
    status: int,
    message: str = "the test asked for this failure",
    *,
    code: str | None = None,
    retry_after: float | None = None,
) -> HttpReply:
    """Return an error as OpenAI words it.

    Args:
        status: the HTTP status.
        message: what is wrong.
        code: such as ``insufficient_quota``.
        retry_after: seconds, for the header ``Retry-After``.

    """
    error = {"message": message, "type": "error", "param": None, "code": code}
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return HttpReply([json.dumps({"error": error}).encode()], status=status, headers=headers)
