"""Ready-made handlers: to run, to read, to subclass."""

from mediaserver.agents.echo import Echo
from mediaserver.agents.parrot import Parrot


__all__ = ["Echo", "Parrot"]
