"Ledgers of a small sample league, and hands that reach into their files as any client can."

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Engine, select, update

from football_pred.core import schema
from football_pred.core.database import open_database, open_engine, upsert, write_transaction
from football_pred.core.head_signing import load_signing_key, sign_head
from football_pred.core.ledger_checks import TreeFrontier, canonical_text, leaf_hash, score_forecast
from football_pred.core.ledger_log import HeadFile, read_heads
from football_pred.core.ledger_reading import read_entries
from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.core.settings import Settings
from football_pred.forecasts.ledger import (
    append_forecasts,
    compute_seal,
    compute_settlement_seal,
)
from football_pred.forecasts.ledger_verification import (
    LedgerVerification,
    entry_line,
    verify_ledger,
)
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


def reseal_rows(connection: Any) -> None:
    "Recompute the chain of forecasts, and the scores and seals of settlements."
    sealed, score = schema.predictions, schema.settlements
    previous = schema.GENESIS_SEAL
    rows = {}
    for row in connection.execute(select(sealed).order_by(sealed.c.sequence)).mappings().all():
        row = dict(row) | {'previous_seal': previous}
        row['seal'] = previous = compute_seal(row)
        rows[row['prediction_id']] = row
        same = sealed.c.sequence == row['sequence']
        connection.execute(update(sealed).where(same).values(row))
    for row in connection.execute(select(score)).mappings().all():
        forecast = rows[row['prediction_id']]
        probabilities = [forecast[name] for name in ('p_home', 'p_draw', 'p_away')]
        goals = (row['home_goals'], row['away_goals'])
        scores = score_forecast(probabilities, forecast['predicted_result'], *goals)
        row = dict(row)
        if row['outcome'] != scores.outcome or abs(row['rps'] - scores.rps) > 1e-9:
            row |= scores._asdict()
        row['seal'] = compute_settlement_seal(row, forecast['seal'])
        same = (score.c.prediction_id == row['prediction_id']) & (
            score.c.revision == row['revision']
        )
        connection.execute(update(score).where(same).values(row))


def rebuild_log(connection: Any, heads: Any) -> None:
    "Recompute the hashes of all entries, and the heads of table and file."
    log, frontier = schema.ledger_entries, TreeFrontier()
    roots, moments = {}, {}
    entries = list(read_entries(connection))
    for entry in entries:
        new = entry._replace(entry=frontier.size + 1)
        leaf = leaf_hash(entry_line(new).encode())
        subtrees = b''.join(frontier.append(leaf)).hex()
        values = {'entry': new.entry, 'leaf': leaf.hex(), 'subtrees': subtrees}
        connection.execute(update(log).where(log.c.entry == entry.entry).values(values))
        roots[new.entry], moments[new.entry] = frontier.root().hex(), new.recorded_at
    key = load_signing_key(heads.key_path)
    before = [head for head in read_heads(connection) if head['size'] <= frontier.size]
    connection.execute(schema.ledger_heads.delete())
    sizes = sorted({head['size'] for head in before} | {frontier.size})
    lines = []
    for size in sizes:
        at = moments[size]
        head = {'origin': entries[0].content['origin'], 'size': size, 'root': roots[size], 'at': at}
        head = sign_head(head, key)
        moment = datetime.fromisoformat(at)
        connection.execute(schema.ledger_heads.insert().values(head | {'at': moment}))
        lines.append(canonical_text(head) + '\n')
    heads.path.write_text(''.join(lines))


def forge(home: Path, change: Callable[[Any], None] = lambda connection: None) -> None:
    "Change rows, let chain, scores, log, heads and file fit them, and put the guards back."
    engine = open_engine(f'sqlite:///{home}/football.db')
    with write_transaction(engine) as connection:
        for name in schema.sqlite_guards():
            connection.exec_driver_sql(f'DROP TRIGGER IF EXISTS {name}')
        connection.exec_driver_sql('PRAGMA ignore_check_constraints=ON')
        change(connection)
        reseal_rows(connection)
        rebuild_log(connection, heads_of(home))
        schema.renew_guards(connection)
    engine.dispose()
