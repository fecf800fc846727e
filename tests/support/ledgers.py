"Ledgers of a small sample league, and hands that reach into their files as any client can."

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from sqlalchemy import Engine, update

from football_pred.core import schema
from football_pred.core.database import open_database, upsert, write_transaction
from football_pred.core.ledger_log import HeadFile
from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.core.settings import Settings
from football_pred.forecasts.ledger import append_forecasts, compute_seal
from football_pred.forecasts.ledger_verification import LedgerVerification, verify_ledger
from football_pred.forecasts.predict import forecast_fixtures

SAMPLE = sample_matches(sample_strengths(6))
NOW = datetime.now(UTC).replace(microsecond=0)
SHIFT = NOW + timedelta(days=1) - SAMPLE.tail(9)['kickoff'].min()
MATCHES = SAMPLE.with_columns(
    kickoff=pl.col('kickoff') + SHIFT,
    result_known_at=pl.col('result_known_at') + SHIFT,
    date=(pl.col('kickoff') + SHIFT).dt.date(),
)
UPCOMING = MATCHES.tail(9)  # three rounds of three, the first of them tomorrow
END = MATCHES['result_known_at'].max()
OPEN = {'status': 'scheduled', 'home_goals': None, 'away_goals': None, 'result_known_at': None}
PAYLOAD = '5' * 64  # digest of the payload that told the results
LEAGUE = dict(league='SIM', name='Simulated', country='Nowhere', tier=1, time_zone='UTC', teams=6)
SNAPSHOT = dict(
    snapshot_id='s',
    source='sample',
    url='sample:',
    kind='results',
    sha256=PAYLOAD,
    bytes=0,
    fetched_at=NOW,
    path='',
    sequence=1,
    rows=0,
)


class Fixed:
    "A model with fixed random probabilities and rates."

    def predict_proba(self, fixtures: pl.DataFrame) -> np.ndarray:
        return np.random.default_rng(5).dirichlet([4, 3, 3], fixtures.height)

    def predict_rates(self, fixtures: pl.DataFrame) -> np.ndarray:
        return np.random.default_rng(6).gamma(5, 0.3, (fixtures.height, 2))


PREDICTED = forecast_fixtures(Fixed(), UPCOMING)


def fill_matches(engine: Engine) -> None:
    "Store the matches, the last nine of them to come."
    rows = []
    coming = set(UPCOMING['match_id'])
    for row in MATCHES.to_dicts():
        changes = OPEN if row['match_id'] in coming else {}
        rows.append(row | changes | {'source': 'sample', 'snapshot_id': 's'})
    with write_transaction(engine) as connection:
        upsert(connection, schema.leagues, [LEAGUE])
        upsert(connection, schema.snapshots, [SNAPSHOT])
        upsert(connection, schema.matches, rows)


def open_ledger(home: Path) -> Engine:
    "A database with matches, some of them to come."
    engine = open_database(Settings(home=home).database_dsn)
    fill_matches(engine)
    return engine


def play(engine: Engine, matches: pl.DataFrame = UPCOMING) -> None:
    "Let matches end as the sample says."
    columns = ['match_id', *OPEN]
    with write_transaction(engine) as connection:
        for row in matches.select(columns).to_dicts():
            same = schema.matches.c.match_id == row.pop('match_id')
            connection.execute(update(schema.matches).where(same).values(row))


def heads_of(home: Path) -> HeadFile:
    return HeadFile(home / 'ledger-heads.jsonl', home / 'ledger-key.pem')


def append(home: Path, engine: Engine, forecasts: pl.DataFrame, **changes: object) -> int:
    options = dict(
        model='SIM-fixed',
        model_version='1',
        as_of=NOW,
        data_fingerprint='d',
        feature_fingerprint='f',
        run_id='r',
    )
    return append_forecasts(engine, heads_of(home), forecasts, **(options | changes))


def verify(home: Path, **options: object) -> LedgerVerification:
    "Verify the ledger by a new connection."
    engine = open_database(Settings(home=home).database_dsn)
    try:
        return verify_ledger(engine, heads_of(home), **options)
    finally:
        engine.dispose()


def problems(home: Path, **options: object) -> str:
    return '\n'.join(verify(home, **options).problems)


def intrude(home: Path) -> sqlite3.Connection:
    "A connection such as any SQLite client makes it."
    return sqlite3.connect(home / 'football.db', isolation_level=None)


def unguard(connection: sqlite3.Connection) -> None:
    "Drop every trigger and switch off the checks."
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    for (name,) in connection.execute(query).fetchall():
        connection.execute(f'DROP TRIGGER {name}')
    connection.execute('PRAGMA ignore_check_constraints=ON')
    connection.execute('PRAGMA synchronous=OFF')


def guard(connection: sqlite3.Connection) -> None:
    "Put every trigger back as it was."
    for name, statement in schema.sqlite_guards().items():
        connection.execute(f'DROP TRIGGER IF EXISTS {name}')
        connection.execute(statement)


def insert(
    connection: sqlite3.Connection, table: str, row: dict[str, object], how: str = 'INSERT'
) -> None:
    names = ', '.join(f'"{name}"' for name in row)
    places = ', '.join('?' * len(row))
    connection.execute(f'{how} INTO {table} ({names}) VALUES ({places})', list(row.values()))


def stored(
    connection: sqlite3.Connection, table: str, where: str, values: Sequence[object] = ()
) -> dict[str, object]:
    "One row as the file holds it."
    cursor = connection.execute(f'SELECT * FROM {table} WHERE {where}', values)
    return dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))


def moment_text(moment: datetime) -> str:
    "A moment as SQLite stores it."
    return f'{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'


def with_seal(row: dict[str, object], **changes: object) -> dict[str, object]:
    "A stored forecast with changes and a seal that fits them, made as the ledger makes it."
    row = row | changes
    moments = {
        name: datetime.fromisoformat(row[name]).replace(tzinfo=UTC)
        for name in ('kickoff', 'as_of', 'created_at')
    }
    return row | {'seal': compute_seal(row | moments)}


def following(connection: sqlite3.Connection, **changes: object) -> dict[str, object]:
    "A forecast that would stand at the end of the chain, if it were not for the changes."
    last = stored(connection, 'predictions', 'sequence = 9')
    follows = dict(
        sequence=10,
        previous_seal=last['seal'],
        prediction_id='f' * 32,
        model_version='2',
        created_at=moment_text(datetime.now(UTC)),
        kind='replay',
    )
    return with_seal(last, **(follows | changes))


def reseal(connection: sqlite3.Connection, first: int, **changes: object) -> None:
    "Change one forecast and rebuild the chain from there to the end."
    previous = stored(connection, 'predictions', f'sequence = {first}')['previous_seal']
    for sequence in range(first, 10):
        row = stored(connection, 'predictions', f'sequence = {sequence}')
        row = with_seal(row, previous_seal=previous, **changes)
        connection.execute(f'DELETE FROM predictions WHERE sequence = {sequence}')
        insert(connection, 'predictions', row)
        previous, changes = row['seal'], {}
