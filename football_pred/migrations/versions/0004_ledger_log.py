"""One log of everything that is sealed, its heads, and the kinds of forecasts.

A forecast that was made before kick-off, by the time that its row tells, is live; every other is a replay. The log itself is
opened by the next entry, which enters what was sealed before it."""

from collections.abc import Callable
from importlib import import_module

import sqlalchemy as sa
from alembic import op

from football_pred.core.schema import postgresql_guards, renew_guards, sqlite_guards

revision, down_revision = '0004', '0003'

MOMENT = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer, 'sqlite')
TOPICS_BEFORE = "'matches', 'results', 'odds', 'predictions', 'models'"
TOPICS = f"{TOPICS_BEFORE}, 'heads'"
KINDS = "'opening', 'forecast', 'settlement', 'correction', 'registration', 'promotion', 'restore'"
EVENT_INDEXES = ('ix_events_topic_sequence', 'ix_events_unsent')
MADE_BEFORE_KICKOFF = "kind <> 'live' OR created_at < kickoff"


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == 'sqlite'


def _drop_guards() -> None:
    if _is_sqlite():
        for name in sqlite_guards():
            op.execute(f'DROP TRIGGER IF EXISTS {name}')
        return
    functions = ['refuse_unchained']
    for name, guard in postgresql_guards().items():
        op.execute(f'DROP TRIGGER IF EXISTS {name} ON {guard.table}')
        functions.append(guard.function)
    for function in dict.fromkeys(functions):
        op.execute(f'DROP FUNCTION IF EXISTS {function}() CASCADE')


def _log_tables() -> None:
    op.create_table(
        'ledger_entries',
        sa.Column('entry', sa.BigInteger, autoincrement=False),
        sa.Column('kind', sa.String, nullable=False),
        sa.Column('subject', sa.String, nullable=False),
        sa.Column('recorded_at', MOMENT, nullable=False),
        sa.Column('content', sa.JSON),
        sa.Column('leaf', sa.String, nullable=False),
        sa.Column('subtrees', sa.String, nullable=False),
        sa.PrimaryKeyConstraint('entry', name='pk_ledger_entries'),
        sa.UniqueConstraint('kind', 'subject', name='uq_ledger_entries_kind_subject'),
        sa.CheckConstraint(f'kind IN ({KINDS})', name='ck_ledger_entries_kind_known'),
        sqlite_with_rowid=False,
    )
    op.create_table(
        'ledger_heads',
        sa.Column('size', sa.BigInteger, autoincrement=False),
        sa.Column('origin', sa.String, nullable=False),
        sa.Column('root', sa.String, nullable=False),
        sa.Column('at', MOMENT, nullable=False),
        sa.Column('key', sa.String),
        sa.Column('signature', sa.String),
        sa.PrimaryKeyConstraint('size', name='pk_ledger_heads'),
        sqlite_with_rowid=False,
    )
    op.create_table(
        'ledger_anchors',
        sa.Column('size', sa.BigInteger, autoincrement=False),
        sa.Column('place', sa.String),
        sa.Column('root', sa.String, nullable=False),
        sa.Column('at', MOMENT, nullable=False),
        sa.Column('receipt', sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint('size', 'place', name='pk_ledger_anchors'),
        sqlite_with_rowid=False,
    )


def _create_sealed() -> None:
    op.create_table(
        'predictions',
        sa.Column('sequence', sa.BigInteger, autoincrement=False),
        sa.Column('prediction_id', sa.String, nullable=False),
        sa.Column('match_id', sa.String, nullable=False),
        sa.Column('league', sa.String, nullable=False),
        sa.Column('season', sa.String, nullable=False),
        sa.Column('home_team', sa.String, nullable=False),
        sa.Column('away_team', sa.String, nullable=False),
        sa.Column('kickoff', MOMENT, nullable=False),
        sa.Column('model', sa.String, nullable=False),
        sa.Column('model_version', sa.String, nullable=False),
        sa.Column('as_of', MOMENT, nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('p_home', sa.Float, nullable=False),
        sa.Column('p_draw', sa.Float, nullable=False),
        sa.Column('p_away', sa.Float, nullable=False),
        sa.Column('home_rate', sa.Float),
        sa.Column('away_rate', sa.Float),
        sa.Column('predicted_result', sa.String, nullable=False),
        sa.Column('confidence', sa.Float, nullable=False),
        sa.Column('data_fingerprint', sa.String, nullable=False),
        sa.Column('feature_fingerprint', sa.String, nullable=False),
        sa.Column('run_id', sa.String, nullable=False),
        sa.Column('previous_seal', sa.String, nullable=False),
        sa.Column('seal', sa.String, nullable=False),
        sa.Column('kind', sa.String, nullable=False, server_default='replay'),
        sa.PrimaryKeyConstraint('sequence', name='pk_predictions'),
        sa.ForeignKeyConstraint(['match_id'], ['matches.match_id'], name='fk_predictions_match_id'),
        sa.UniqueConstraint(
            'match_id',
            'model',
            'model_version',
            'as_of',
            name='uq_predictions_match_id_model_model_version_as_of',
        ),
        sa.UniqueConstraint('prediction_id', name='uq_predictions_prediction_id'),
        sa.UniqueConstraint('seal', name='uq_predictions_seal'),
        sa.CheckConstraint("kind IN ('live', 'replay')", name='ck_predictions_kind_known'),
        sa.CheckConstraint(MADE_BEFORE_KICKOFF, name='ck_predictions_live'),
        sa.CheckConstraint('as_of < kickoff', name='ck_predictions_before_kickoff'),
        sa.CheckConstraint(
            "predicted_result IN ('home_win', 'draw', 'away_win')",
            name='ck_predictions_predicted_result_known',
        ),
        sa.CheckConstraint(
            'p_home >= 0 AND p_draw >= 0 AND p_away >= 0 AND abs(p_home + p_draw + p_away - 1) < 1e-9',
            name='ck_predictions_probabilities',
        ),
        sqlite_with_rowid=False,
    )

    op.create_table(
        'settlements',
        sa.Column('prediction_id', sa.String),
        sa.Column('revision', sa.Integer),
        sa.Column('settled_as_of', MOMENT, nullable=False),
        sa.Column('home_goals', sa.Integer, nullable=False),
        sa.Column('away_goals', sa.Integer, nullable=False),
        sa.Column('outcome', sa.String, nullable=False),
        sa.Column('hit', sa.Boolean, nullable=False),
        sa.Column('rps', sa.Float, nullable=False),
        sa.Column('log_loss', sa.Float, nullable=False),
        sa.Column('brier', sa.Float, nullable=False),
        sa.Column('run_id', sa.String, nullable=False),
        sa.Column('seal', sa.String, nullable=False),
        sa.Column('payload_sha256', sa.String),
        sa.PrimaryKeyConstraint('prediction_id', 'revision', name='pk_settlements'),
        sa.ForeignKeyConstraint(
            ['prediction_id'], ['predictions.prediction_id'], name='fk_settlements_prediction_id'
        ),
        sa.CheckConstraint(
            "outcome IN ('home', 'draw', 'away')", name='ck_settlements_outcome_known'
        ),
        sqlite_with_rowid=False,
    )


def _move_sealed(create: Callable[[], None]) -> None:
    "Move forecasts and settlements of SQLite, which cannot change the constraints of a table."
    for name in ('ix_predictions_match_id', 'ix_predictions_league_sequence'):
        op.drop_index(name, 'predictions')
    for table in ('predictions', 'settlements'):
        op.rename_table(table, f'{table}_before')
    create()
    inspector = sa.inspect(op.get_bind())
    for table in ('predictions', 'settlements'):
        columns = [column['name'] for column in inspector.get_columns(table)]
        before = [column['name'] for column in inspector.get_columns(f'{table}_before')]
        names = ', '.join(f'"{name}"' for name in columns if name in before)
        op.execute(f'INSERT INTO {table} ({names}) SELECT {names} FROM {table}_before')
    for table in ('settlements', 'predictions'):
        op.drop_table(f'{table}_before')
    op.create_index('ix_predictions_match_id', 'predictions', ['match_id'], if_not_exists=True)
    op.create_index('ix_predictions_league_sequence', 'predictions', ['league', 'sequence'])


def _columns() -> None:
    if _is_sqlite():
        _move_sealed(_create_sealed)
    else:
        column = sa.Column('kind', sa.String, nullable=False, server_default='replay')
        op.add_column('predictions', column)
        for name, condition in (
            ('ck_predictions_kind_known', "kind IN ('live', 'replay')"),
            ('ck_predictions_live', MADE_BEFORE_KICKOFF),
        ):
            op.create_check_constraint(name, 'predictions', condition)
        op.add_column('settlements', sa.Column('payload_sha256', sa.String))
    op.execute("UPDATE predictions SET kind = 'live' WHERE created_at < kickoff")


def _create_events(topics: str) -> None:
    op.create_table(
        'events',
        sa.Column('sequence', NUMBER),
        sa.Column('event_id', sa.String, nullable=False),
        sa.Column('topic', sa.String, nullable=False),
        sa.Column('key', sa.String, nullable=False),
        sa.Column('payload', sa.JSON, nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('sent_at', MOMENT),
        sa.PrimaryKeyConstraint('sequence', name='pk_events'),
        sa.UniqueConstraint('event_id', name='uq_events_event_id'),
        sa.CheckConstraint(f'topic IN ({topics})', name='ck_events_topic_known'),
        sqlite_autoincrement=True,
    )


def _allow_topics(topics: str) -> None:
    if not _is_sqlite():
        op.drop_constraint('ck_events_topic_known', 'events')
        op.create_check_constraint('ck_events_topic_known', 'events', f'topic IN ({topics})')
        return
    counter = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
    last = op.get_bind().execute(sa.text(counter)).scalar() or 0
    for name in EVENT_INDEXES:
        op.drop_index(name, 'events')
    op.rename_table('events', 'events_before')
    _create_events(topics)
    op.execute('INSERT INTO events SELECT * FROM events_before')
    op.drop_table('events_before')
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
    op.execute(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('events', {int(last)})")
    op.create_index('ix_events_topic_sequence', 'events', ['topic', 'sequence'])
    unsent = sa.text('sent_at IS NULL')
    op.create_index('ix_events_unsent', 'events', ['sequence'], sqlite_where=unsent)


def upgrade() -> None:
    _drop_guards()
    _log_tables()
    _columns()
    _allow_topics(TOPICS)
    renew_guards(op.get_bind())


def _take_columns_away() -> None:
    if not _is_sqlite():
        op.drop_column('predictions', 'kind')
        op.drop_column('settlements', 'payload_sha256')
        return
    _move_sealed(import_module('football_pred.migrations.versions.0001_tables')._done)


def downgrade() -> None:
    _drop_guards()
    for table in ('ledger_anchors', 'ledger_heads', 'ledger_entries'):
        op.drop_table(table)
    op.execute("DELETE FROM events WHERE topic = 'heads'")
    _allow_topics(TOPICS_BEFORE)
    _take_columns_away()
    import_module('football_pred.migrations.versions.0001_tables')._guards()
