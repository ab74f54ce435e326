"""Where calls are recorded: the database, and the disk on which records wait for it."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from mediaserver.doctor.findings import Finding, failed, passed, skipped
from mediaserver.doctor.reaching import in_a_thread
from mediaserver.doctor.subject import Subject
from mediaserver.settings import Settings


_SLOW: Final = 1.0
"""Seconds that a query may take; batches of records wait for each other."""


async def record_places(subject: Subject) -> Finding:
    """Ask the database of call records, and look whether the journal can be written."""
    if subject.settings.records is None:
        return skipped("records is not set: calls are not recorded")
    try:
        # The end does not wait for a database that never answers.
        return await in_a_thread(lambda: _look(subject.settings))
    except PermissionError as error:
        return failed(
            f"this user cannot look into the folder of {error.filename}",
            "run doctor as the server's user or root",
        )


def _look(settings: Settings) -> Finding:
    from mediaserver.records.database import DatabaseAwayError, RecordsDatabase
    from mediaserver.records.migrating import version_of

    if not _can_be_written(settings.records_folder):
        return failed(
            f"the journal cannot be written to {settings.records_folder}",
            "let the server's user write there, or name another folder in records_journal",
        )
    url = settings.records_url
    assert url is not None
    if url.startswith("sqlite"):
        path = Path(url.partition(":///")[2])
        if not _is_there(path):
            if _can_be_written(path.parent):
                return passed(f"{path} will be made")
            return failed(f"{path} cannot be made", "let the server's user write to its folder")
    try:
        with closing(RecordsDatabase(url)) as database:
            began = time.perf_counter()
            with database.reading() as connection:
                version = version_of(connection)
            seconds = time.perf_counter() - began
    except (ValueError, DatabaseAwayError) as error:
        return failed(
            f"the database cannot be used: {error}",
            "start it, and compare address, user and password in records with its own; until it"
            " answers, records wait in the journal",
        )
    if seconds > _SLOW:
        return failed(
            f"{database.shown} takes {seconds:.1f} s for a query",
            "run it nearer to this machine, or on a faster one",
        )
    tables = f"tables of version {version}" if version else "its tables will be made"
    return passed(f"{database.shown} answers in {seconds * 1e3:.0f} ms; {tables}")


def _can_be_written(folder: Path) -> bool:
    """Tell whether a folder can be written to, or can be made."""
    while not _is_there(folder) and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _is_there(path: Path) -> bool:
    """Tell whether a path exists.

    Raises:
        PermissionError: This user may not know.

    """
    try:
        path.stat()
    except PermissionError:
        raise
    except OSError:
        return False
    return True
