"""What the server that is fuzzed is set to: each seed leads into other code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from mediaserver.plivo.signatures import form_params, sign_headers


PUBLIC_URL: Final = "https://voice.example.com"
AUTH_TOKEN: Final = "the auth token of the fuzzed server"


def settings_of(seed: int, folder: Path) -> dict[str, Any]:
    """Return the settings for a seed: any eight in a row have each combination once.

    Args:
        seed: with its lowest bit, signatures are checked; with the next, calls are resumed; with
            the third, they are recorded.
        folder: for the records.

    """
    settings: dict[str, Any] = {"public_url": PUBLIC_URL}
    if seed & 1:
        settings["auth_token"] = AUTH_TOKEN
    if seed & 2:
        settings["resume_calls"] = 3
    if seed & 4:
        settings["records"] = str(folder / "calls.db")
        settings["records_journal"] = folder / "journals"
        settings["records_transcripts"] = True
    return settings


def signed(request: bytes, nonce: str) -> bytes:
    """Return a whole HTTP request with the signature that Plivo would give it."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, _, fields = head.partition(b"\r\n")
    method, path, _ = first.decode().split(" ")
    params = form_params(parse_qsl(body.decode())) if body else None
    signature = sign_headers(method, PUBLIC_URL + path, AUTH_TOKEN, params=params, nonce=nonce)
    lines = [f"{name}: {value}".encode() for name, value in signature.items()]
    return b"\r\n".join([first, *lines, fields]) + b"\r\n\r\n" + body
