"""Prices and logs of fetches grow without end: PostgreSQL keeps them by month.

The key of a partitioned table holds the column it is divided by, so that of the logs gains `start_time`, on both databases.
A table is moved, not changed: neither database can divide one that stands."""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision, down_revision = '0002', '0001'

MOMENT = sa.DateTime(timezone=True)
LOGS = {
    'ix_data_collection_logs_data_source_start_time': ['data_source', 'start_time'],
    'ix_data_collection_logs_run_key_url': ['run_key', 'url'],
}


def _odds(divided: bool) -> None:
    op.create_table(
        'odds',
        sa.Column('match_id', sa.String),
        sa.Column('bookmaker', sa.String),
        sa.Column('market', sa.String),
        sa.Column('line', sa.String),
        sa.Column('selection', sa.String),
        sa.Column('known_at', MOMENT),
        sa.Column('phase', sa.String, nullable=False),
        sa.Column('price', sa.Float, nullable=False),
        sa.Column('source', sa.String, nullable=False),
        sa.Column('snapshot_id', sa.String, nullable=False),
        sa.PrimaryKeyConstraint(
            'match_id', 'bookmaker', 'market', 'line', 'selection', 'known_at', name='pk_odds'
        ),
        sa.ForeignKeyConstraint(['match_id'], ['matches.match_id'], name='fk_odds_match_id'),
        sa.ForeignKeyConstraint(
            ['snapshot_id'], ['snapshots.snapshot_id'], name='fk_odds_snapshot_id'
        ),
        sa.CheckConstraint("market IN ('1x2', 'total', 'handicap')", name='ck_odds_market_known'),
        sa.CheckConstraint("phase IN ('opening', 'closing')", name='ck_odds_phase_known'),
        sa.CheckConstraint('price > 1', name='ck_odds_price'),
        postgresql_partition_by='RANGE (known_at)' if divided else None,
    )


def _logs(divided: bool) -> None:
    key = ('log_id', 'start_time') if divided else ('log_id',)
    op.create_table(
        'data_collection_logs',
        sa.Column('log_id', sa.String),
        sa.Column('data_source', sa.String, nullable=False),
        sa.Column('collection_type', sa.String, nullable=False),
        sa.Column('url', sa.String, nullable=False),
        sa.Column('start_time', MOMENT, nullable=False),
        sa.Column('end_time', MOMENT, nullable=False),
        sa.Column('status', sa.String, nullable=False),
        sa.Column('records', sa.Integer, nullable=False),
        sa.Column('errors', sa.Integer, nullable=False),
        sa.Column('http_status', sa.Integer),
        sa.Column('attempts', sa.Integer, nullable=False),
        sa.Column('error_type', sa.String),
        sa.Column('error', sa.String),
        sa.Column('snapshot_id', sa.String),
        sa.Column('run_id', sa.String, nullable=False),
        sa.Column('run_key', sa.String, nullable=False),
        sa.PrimaryKeyConstraint(*key, name='pk_data_collection_logs'),
        postgresql_partition_by='RANGE (start_time)' if divided else None,
    )


def _move(
    table: str, make: Callable[[bool], None], divided: bool, indexes: dict[str, list[str]]
) -> None:
    postgresql, before = op.get_context().dialect.name == 'postgresql', f'{table}_before'
    for name in indexes:
        op.drop_index(name, table)
    op.rename_table(table, before)
    if postgresql:
        op.execute(f'ALTER TABLE {before} RENAME CONSTRAINT pk_{table} TO pk_{before}')
    make(divided)
    if postgresql and divided:
        op.execute(f'CREATE TABLE {table}_default PARTITION OF {table} DEFAULT')
    op.execute(f'INSERT INTO {table} SELECT * FROM {before}')
    op.drop_table(before)
    for name, columns in indexes.items():
        op.create_index(name, table, columns)


def upgrade() -> None:
    if op.get_context().dialect.name == 'postgresql':
        _move('odds', _odds, True, {})
    _move('data_collection_logs', _logs, True, LOGS)


def downgrade() -> None:
    if op.get_context().dialect.name == 'postgresql':
        _move('odds', _odds, False, {})
    _move('data_collection_logs', _logs, False, LOGS)
