"""What calls and their turns have cost, and where transcripts are."""

import sqlalchemy as sa
from alembic import op


revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Bring the tables to this version."""
    op.add_column("calls", sa.Column("transcript", sa.Text))
    op.add_column("calls", sa.Column("cost", sa.Double))
    op.add_column("calls", sa.Column("currency", sa.Text))
    op.add_column("call_turns", sa.Column("cost", sa.Double))
