"""How Sarvam is reached, and how it spells languages.

The header with the key is described at https://docs.sarvam.ai/api-reference/text-to-speech/stream.
The ``sarvamai`` package is not needed: the protocols are small, and it knows neither our errors nor
our time limits.
"""

from __future__ import annotations

import re
from typing import Final, Unpack

from mediaserver.agents.services.socket_account import SocketAccount, SocketAccountOptions


SARVAM: Final = "sarvam"


def sarvam_account(**connection: Unpack[SocketAccountOptions]) -> SocketAccount:
    """Return the key and the address with which Sarvam is used."""
    return SocketAccount(
        SARVAM,
        "SARVAM_API_KEY",
        "wss://api.sarvam.ai",
        lambda key: {"api-subscription-key": key},
        **connection,
    )


def require_indian_language(language: str, *, odia: str) -> str:
    """Return a language's code as an endpoint of Sarvam's takes it.

    Args:
        language: the code, such as ``hi-IN``. Odia is ``od-IN`` or ``or-IN``.
        odia: which of these two the endpoint takes.

    Raises:
        ValueError: it is no such code.

    """
    if not isinstance(language, str) or not re.fullmatch("[a-z]{2,3}-IN", language):
        raise ValueError(f"language must be like 'hi-IN' or 'en-IN', not {language!r}")
    return odia if language in ("od-IN", "or-IN") else language
