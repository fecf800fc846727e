"""Every table as it stood when migrations began, and the guards of the ledger.

Tables that are there already, made before migrations began, are left as they are."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = '0001', None

MOMENT = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer, 'sqlite')
GENESIS = '0' * 64
TABLES = (
    'leagues',
    'teams',
    'team_aliases',
    'snapshots',
    'matches',
    'fixture_changes',
    'odds',
    'rejects',
    'data_collection_logs',
    'job_runs',
    'predictions',
    'settlements',
    'events',
    'api_keys',
    'audit_log',
)

_REFUSE_CHANGE = """CREATE TRIGGER IF NOT EXISTS {table}_{action} BEFORE {action} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only: {action} refused'); END"""

_REFUSE_REPLACE = """CREATE TRIGGER IF NOT EXISTS {table}_replace BEFORE INSERT ON {table} WHEN {exists}
BEGIN SELECT RAISE(ABORT, '{table} is append-only: the row exists already'); END"""

_REFUSE_UNCHAINED = f"""CREATE TRIGGER IF NOT EXISTS predictions_chain BEFORE INSERT ON predictions
WHEN NEW.sequence <> (SELECT coalesce(max(sequence), 0) + 1 FROM predictions)
  OR NEW.previous_seal <> coalesce((SELECT seal FROM predictions ORDER BY sequence DESC LIMIT 1), '{GENESIS}')
BEGIN SELECT RAISE(ABORT, 'predictions is a chain: the row does not follow the last one'); END"""

_SAME_PREDICTION = """EXISTS (SELECT 1 FROM predictions WHERE prediction_id = NEW.prediction_id OR seal = NEW.seal
  OR (match_id = NEW.match_id AND model = NEW.model AND model_version = NEW.model_version AND as_of = NEW.as_of))"""
_SAME_SETTLEMENT = 'EXISTS (SELECT 1 FROM settlements WHERE prediction_id = NEW.prediction_id AND revision = NEW.revision)'

_POSTGRESQL_GUARD = '''CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP; END $$'''

_POSTGRESQL_CHAIN = f'''CREATE OR REPLACE FUNCTION refuse_unchained() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('predictions'));
  IF NEW.sequence <> (SELECT coalesce(max(sequence), 0) + 1 FROM predictions)
    OR NEW.previous_seal <> coalesce((SELECT seal FROM predictions ORDER BY sequence DESC LIMIT 1), '{GENESIS}')
  THEN RAISE EXCEPTION 'predictions is a chain: the row does not follow the last one'; END IF;
  RETURN NEW;
END $$'''


def _gathered() -> None:
    op.create_table(
        'leagues',
        sa.Column('league', sa.String),
        sa.Column('name', sa.String, nullable=False),
        sa.Column('country', sa.String, nullable=False),
        sa.Column('tier', sa.Integer, nullable=False),
        sa.Column('time_zone', sa.String, nullable=False),
        sa.Column('teams', sa.Integer),
        sa.Column('season_starts', sa.String),
        sa.Column('home_meetings', sa.Integer),
        sa.PrimaryKeyConstraint('league', name='pk_leagues'),
        if_not_exists=True,
    )

    op.create_table(
        'teams',
        sa.Column('country', sa.String),
        sa.Column('team', sa.String),
        sa.PrimaryKeyConstraint('country', 'team', name='pk_teams'),
        if_not_exists=True,
    )

    op.create_table(
        'team_aliases',
        sa.Column('source', sa.String),
        sa.Column('league', sa.String),
        sa.Column('alias', sa.String),
        sa.Column('team', sa.String, nullable=False),
        sa.PrimaryKeyConstraint('source', 'league', 'alias', name='pk_team_aliases'),
        sa.ForeignKeyConstraint(['league'], ['leagues.league'], name='fk_team_aliases_league'),
        if_not_exists=True,
    )

    op.create_table(
        'snapshots',
        sa.Column('snapshot_id', sa.String),
        sa.Column('source', sa.String, nullable=False),
        sa.Column('url', sa.String, nullable=False),
        sa.Column('kind', sa.String, nullable=False),
        sa.Column('league', sa.String),
        sa.Column('season', sa.String),
        sa.Column('sha256', sa.String, nullable=False),
        sa.Column('bytes', sa.Integer, nullable=False),
        sa.Column('fetched_at', MOMENT, nullable=False),
        sa.Column('path', sa.String, nullable=False),
        sa.Column('etag', sa.String),
        sa.Column('last_modified', sa.String),
        sa.Column('sequence', sa.Integer, nullable=False),
        sa.Column('rows', sa.Integer, nullable=False),
        sa.Column('cleaned_with', sa.String),
        sa.PrimaryKeyConstraint('snapshot_id', name='pk_snapshots'),
        sa.UniqueConstraint('sequence', name='uq_snapshots_sequence'),
        if_not_exists=True,
    )
    op.create_index(
        'ix_snapshots_source_url_sequence',
        'snapshots',
        ['source', 'url', 'sequence'],
        if_not_exists=True,
    )

    op.create_table(
        'matches',
        sa.Column('match_id', sa.String),
        sa.Column('league', sa.String, nullable=False),
        sa.Column('season', sa.String, nullable=False),
        sa.Column('kickoff', MOMENT, nullable=False),
        sa.Column('kickoff_known', sa.Boolean, nullable=False),
        sa.Column('date', sa.Date, nullable=False),
        sa.Column('home_team', sa.String, nullable=False),
        sa.Column('away_team', sa.String, nullable=False),
        sa.Column('neutral', sa.Boolean, nullable=False),
        sa.Column('status', sa.String, nullable=False),
        sa.Column('home_goals', sa.Integer),
        sa.Column('away_goals', sa.Integer),
        sa.Column('result_known_at', MOMENT),
        sa.Column('home_half_time_goals', sa.Integer),
        sa.Column('away_half_time_goals', sa.Integer),
        sa.Column('home_shots', sa.Integer),
        sa.Column('away_shots', sa.Integer),
        sa.Column('home_shots_on_target', sa.Integer),
        sa.Column('away_shots_on_target', sa.Integer),
        sa.Column('home_corners', sa.Integer),
        sa.Column('away_corners', sa.Integer),
        sa.Column('home_fouls', sa.Integer),
        sa.Column('away_fouls', sa.Integer),
        sa.Column('home_yellow_cards', sa.Integer),
        sa.Column('away_yellow_cards', sa.Integer),
        sa.Column('home_red_cards', sa.Integer),
        sa.Column('away_red_cards', sa.Integer),
        sa.Column('source', sa.String, nullable=False),
        sa.Column('snapshot_id', sa.String, nullable=False),
        sa.PrimaryKeyConstraint('match_id', name='pk_matches'),
        sa.ForeignKeyConstraint(['league'], ['leagues.league'], name='fk_matches_league'),
        sa.ForeignKeyConstraint(
            ['snapshot_id'], ['snapshots.snapshot_id'], name='fk_matches_snapshot_id'
        ),
        sa.CheckConstraint('home_goals >= 0 AND away_goals >= 0', name='ck_matches_goals'),
        sa.CheckConstraint(
            "status <> 'finished' OR (home_goals IS NOT NULL AND away_goals IS NOT NULL AND result_known_at > kickoff)",
            name='ck_matches_result',
        ),
        sa.CheckConstraint(
            "status IN ('scheduled', 'postponed', 'in_play', 'finished', 'awarded', 'abandoned', 'cancelled')",
            name='ck_matches_status_known',
        ),
        sa.CheckConstraint('home_team <> away_team', name='ck_matches_two_teams'),
        if_not_exists=True,
    )
    op.create_index(
        'ix_matches_league_kickoff', 'matches', ['league', 'kickoff'], if_not_exists=True
    )

    op.create_table(
        'fixture_changes',
        sa.Column('match_id', sa.String),
        sa.Column('snapshot_id', sa.String),
        sa.Column('field', sa.String),
        sa.Column('before', sa.String),
        sa.Column('after', sa.String),
        sa.Column('changed_at', MOMENT, nullable=False),
        sa.PrimaryKeyConstraint('match_id', 'snapshot_id', 'field', name='pk_fixture_changes'),
        sa.ForeignKeyConstraint(
            ['match_id'], ['matches.match_id'], name='fk_fixture_changes_match_id'
        ),
        if_not_exists=True,
    )

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
        sqlite_with_rowid=False,
        if_not_exists=True,
    )

    op.create_table(
        'rejects',
        sa.Column('snapshot_id', sa.String),
        sa.Column('row_number', sa.Integer),
        sa.Column('reason', sa.String),
        sa.Column('kind', sa.String, nullable=False),
        sa.Column('row', sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint('snapshot_id', 'row_number', 'reason', name='pk_rejects'),
        sa.ForeignKeyConstraint(
            ['snapshot_id'], ['snapshots.snapshot_id'], name='fk_rejects_snapshot_id'
        ),
        sa.CheckConstraint(
            "kind IN ('row', 'statistic', 'price', 'contradiction')", name='ck_rejects_kind_known'
        ),
        if_not_exists=True,
    )


def _done() -> None:
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
        sa.PrimaryKeyConstraint('log_id', name='pk_data_collection_logs'),
        if_not_exists=True,
    )
    op.create_index(
        'ix_data_collection_logs_data_source_start_time',
        'data_collection_logs',
        ['data_source', 'start_time'],
        if_not_exists=True,
    )
    op.create_index(
        'ix_data_collection_logs_run_key_url',
        'data_collection_logs',
        ['run_key', 'url'],
        if_not_exists=True,
    )

    op.create_table(
        'job_runs',
        sa.Column('run_id', sa.String),
        sa.Column('job', sa.String, nullable=False),
        sa.Column('pipeline', sa.String),
        sa.Column('key', sa.String, nullable=False),
        sa.Column('params', sa.JSON, nullable=False),
        sa.Column('as_of', MOMENT, nullable=False),
        sa.Column('upstream', sa.JSON, nullable=False),
        sa.Column('state', sa.String, nullable=False),
        sa.Column('lease', sa.String, nullable=False),
        sa.Column('attempts', sa.Integer, nullable=False),
        sa.Column('processes', sa.JSON, nullable=False),
        sa.Column('started_at', MOMENT, nullable=False),
        sa.Column('heartbeat_at', MOMENT, nullable=False),
        sa.Column('finished_at', MOMENT),
        sa.Column('report', sa.String),
        sa.Column('checks', sa.JSON),
        sa.Column('error_type', sa.String),
        sa.Column('error', sa.String),
        sa.PrimaryKeyConstraint('run_id', name='pk_job_runs'),
        sa.CheckConstraint(
            "state IN ('running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'lost')",
            name='ck_job_runs_state_known',
        ),
        if_not_exists=True,
    )
    op.create_index(
        'ix_job_runs_job_started_at', 'job_runs', ['job', 'started_at'], if_not_exists=True
    )
    op.create_index('ix_job_runs_key_state', 'job_runs', ['key', 'state'], if_not_exists=True)
    op.create_index(
        'uq_job_runs_lease',
        'job_runs',
        ['lease'],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
        if_not_exists=True,
    )

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
        if_not_exists=True,
    )
    op.create_index('ix_predictions_match_id', 'predictions', ['match_id'], if_not_exists=True)

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
        sa.PrimaryKeyConstraint('prediction_id', 'revision', name='pk_settlements'),
        sa.ForeignKeyConstraint(
            ['prediction_id'], ['predictions.prediction_id'], name='fk_settlements_prediction_id'
        ),
        sa.CheckConstraint(
            "outcome IN ('home', 'draw', 'away')", name='ck_settlements_outcome_known'
        ),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )

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
        sa.CheckConstraint(
            "topic IN ('matches', 'results', 'odds', 'predictions', 'models')",
            name='ck_events_topic_known',
        ),
        sqlite_autoincrement=True,
        if_not_exists=True,
    )
    op.create_index('ix_events_topic_sequence', 'events', ['topic', 'sequence'], if_not_exists=True)
    op.create_index(
        'ix_events_unsent',
        'events',
        ['sequence'],
        sqlite_where=sa.text('sent_at IS NULL'),
        postgresql_where=sa.text('sent_at IS NULL'),
        if_not_exists=True,
    )

    op.create_table(
        'api_keys',
        sa.Column('key_id', sa.String),
        sa.Column('name', sa.String, nullable=False),
        sa.Column('digest', sa.String, nullable=False),
        sa.Column('scope', sa.String, nullable=False),
        sa.Column('created_at', MOMENT, nullable=False),
        sa.Column('revoked_at', MOMENT),
        sa.PrimaryKeyConstraint('key_id', name='pk_api_keys'),
        sa.UniqueConstraint('digest', name='uq_api_keys_digest'),
        sa.CheckConstraint("scope IN ('read', 'admin')", name='ck_api_keys_scope_known'),
        if_not_exists=True,
    )

    op.create_table(
        'audit_log',
        sa.Column('sequence', NUMBER),
        sa.Column('at', MOMENT, nullable=False),
        sa.Column('actor', sa.String, nullable=False),
        sa.Column('action', sa.String, nullable=False),
        sa.Column('subject', sa.String, nullable=False),
        sa.Column('detail', sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint('sequence', name='pk_audit_log'),
        sqlite_autoincrement=True,
        if_not_exists=True,
    )


def _guards() -> None:
    if op.get_context().dialect.name == 'sqlite':
        for table, exists in (('predictions', _SAME_PREDICTION), ('settlements', _SAME_SETTLEMENT)):
            for action in ('UPDATE', 'DELETE'):
                op.execute(_REFUSE_CHANGE.format(table=table, action=action))
            op.execute(_REFUSE_REPLACE.format(table=table, exists=exists))
        return op.execute(_REFUSE_UNCHAINED)
    op.execute(_POSTGRESQL_GUARD)
    op.execute(_POSTGRESQL_CHAIN)
    for table in ('predictions', 'settlements'):
        op.execute(
            f'CREATE OR REPLACE TRIGGER {table}_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()'
        )
        op.execute(
            f'CREATE OR REPLACE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_change()'
        )
    op.execute(
        'CREATE OR REPLACE TRIGGER predictions_chain BEFORE INSERT ON predictions FOR EACH ROW EXECUTE FUNCTION refuse_unchained()'
    )


def upgrade() -> None:
    _gathered()
    _done()
    _guards()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    if op.get_context().dialect.name == 'postgresql':
        for name in ('refuse_change', 'refuse_unchained'):
            op.execute(f'DROP FUNCTION {name}()')
