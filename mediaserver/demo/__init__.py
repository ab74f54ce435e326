"""A whole call with speech on one machine: what ``mediaserver demo`` runs."""

from mediaserver.demo.command import run


__all__ = ["run"]
