"""What the members of a fleet say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec


class AboutMember(msgspec.Struct, frozen=True):
    """What a member says of itself."""

    node: str
    """The name of its node; another one may have the same, as long as that one still drains."""
    machine: str
    """The part of its name that the processes of one server share."""
    state: Literal["starting", "ready", "draining"]
    calls: int
    calls_limit: int
    host: str = ""
    """The machine's own name."""
    address: str = ""
    """Where the other machines reach it, as a URL; empty if they do not."""


_decoder: Final = msgspec.msgpack.Decoder(AboutMember)


def about_member(said: bytes) -> AboutMember | None:
    """Read what a member says of itself; None if it is another version's."""
    try:
        return _decoder.decode(said)
    except msgspec.DecodeError:
        return None


def known_members(everybody: Mapping[str, bytes]) -> dict[str, AboutMember]:
    """Read what all members say of themselves, by their names."""
    known = {name: about_member(said) for name, said in everybody.items()}
    return {name: about for name, about in known.items() if about is not None}
