"""Runs migrations on the connection that `mediaserver.records.migrating` gives."""

from alembic import context

from mediaserver.records.migrating import VERSION_TABLE
from mediaserver.records.tables import METADATA


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
