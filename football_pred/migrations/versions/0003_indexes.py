"What is asked for often is found without reading a whole table."

from alembic import op

revision, down_revision = '0003', '0002'

INDEXES = {
    'ix_matches_kickoff_match_id': ('matches', ['kickoff', 'match_id']),
    'ix_matches_date': ('matches', ['date']),
    'ix_predictions_league_sequence': ('predictions', ['league', 'sequence']),
    'ix_job_runs_started_at': ('job_runs', ['started_at']),
}


def upgrade() -> None:
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
