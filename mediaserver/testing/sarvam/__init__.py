"""A local Sarvam to test against: `SaarasServer` recognises, `BulbulServer` speaks."""

from mediaserver.testing.sarvam.bulbul import BulbulServer
from mediaserver.testing.sarvam.saaras import SaarasServer


__all__ = ["BulbulServer", "SaarasServer"]
