"""Services that can get ready before they are used."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Prewarmed(Protocol):
    """A service whose first use is slow unless it was prewarmed."""

    async def prewarm(self) -> None:
        """Open connections and load models. Cheap if that was done; never raises ServiceError."""
