"""The names of everything that a fleet keeps in Redis.

All begin with the prefix in braces, which is a hash tag: in a cluster they are in one slot, so that
one script can touch several of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FleetKeys:
    """The keys and channels of one fleet."""

    prefix: str = "mediaserver"
    """Separates the fleets that share a Redis."""

    @property
    def start(self) -> str:
        """How every name begins."""
        return f"{{{self.prefix}}}:"

    @property
    def members(self) -> str:
        """A sorted set: each member, by the time of its last beat."""
        return f"{self.start}members"

    @property
    def about(self) -> str:
        """A hash: what each member says of itself."""
        return f"{self.start}about"

    @property
    def calls(self) -> str:
        """A hash: the member that has each call. Its length counts against the account's limit."""
        return f"{self.start}calls"

    def held(self, member: str) -> str:
        """Return the name of a hash: the calls of one member, with their routes."""
        return f"{self.start}held:{member}"

    def route(self, route: str) -> str:
        """Return the name of a set: the calls of one route."""
        return f"{self.start}route:{route}"

    @property
    def lost_calls(self) -> str:
        """A sorted set: the calls that were lost lately, by when that was found."""
        return f"{self.start}lost"

    def lost(self, call: str) -> str:
        """Return the name of a text: the member that a call was lost with."""
        return f"{self.start}lost:{call}"

    def stream(self, call: str) -> str:
        """Return the name of a text: what is kept of the latest stream of a call."""
        return f"{self.start}stream:{call}"

    def nonce(self, nonce: str) -> str:
        """Return the name of a text: the member whose stream was opened with a signature."""
        # As long as the client likes.
        digest = hashlib.blake2b(nonce.encode("utf-8", "surrogatepass"), digest_size=16)
        return f"{self.start}nonce:{digest.hexdigest()}"

    def mailbox(self, member: str) -> str:
        """Return the channel of a member, or of a node."""
        return f"{self.start}to:{member}"
