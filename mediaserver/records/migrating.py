"""Brings the tables of a database to the newest version, by one process at a time."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Connection, inspect


log = structlog.get_logger(__name__)

HEAD: Final = "0002"
"""The newest version."""

VERSION_TABLE: Final = "mediaserver_records"
"""Has the version of the tables; other programs with Alembic may use the database as well."""

_LOCK: Final = 0x6D65646961
"""Names PostgreSQL's lock on the migration."""

_ALEMBIC: Final = threading.Lock()
"""Alembic keeps the database that it migrates in globals: two servers of one process take turns."""


def migrate(connection: Connection) -> None:
    """Bring the database to the newest version, within the transaction of a connection.

    A database of a newer version is left as it is: versions only add to the tables, so that the
    servers of an older one can go on writing during a deploy.
    """
    if version_of(connection) == HEAD:
        return
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        if version_of(connection) == HEAD:
            return
    # Already its import logs its plugins.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # They take a fifth of a second to import, and are needed once.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    before = version_of(connection)
    try:
        with _ALEMBIC:
            command.upgrade(config, "head")
    except CommandError as error:
        log.warning(
            "the database of call records is of another version of mediaserver",
            version=before,
            known=HEAD,
            reason=str(error),
            hint="records are written as far as the tables have their columns",
        )
    else:
        log.info("the database of call records was migrated", before=before, now=HEAD)


def version_of(connection: Connection) -> str | None:
    """Return the version of the tables; None if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    return None if found is None else str(found)
