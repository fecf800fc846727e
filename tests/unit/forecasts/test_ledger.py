"The ledger under attack: what triggers refuse, and what verification finds without them."

import json
import math
import multiprocessing
import multiprocessing.synchronize
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import DBAPIError

from football_pred.core import schema
from football_pred.core.as_of import read_matches
from football_pred.core.database import (
    count_rows,
    open_database,
    read_frame,
    upsert,
    write_transaction,
)
from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.core.settings import Settings
from football_pred.forecasts import ledger
from football_pred.forecasts.ledger import (
    append_forecasts,
    compute_seal,
    read_settled_forecasts,
    settle_forecasts,
)
from football_pred.forecasts.ledger_verification import LedgerVerification, verify_ledger
from football_pred.forecasts.predict import forecast_fixtures

MATCHES = sample_matches(sample_strengths(6))
UPCOMING = MATCHES.tail(9)  # three rounds of three
NOW = UPCOMING['kickoff'].min() - timedelta(days=1)
END = MATCHES['result_known_at'].max()
FORECASTS = schema.predictions.columns.keys()
SETTLED = schema.settlements.columns.keys()


class Fixed:
    "A model with fixed random probabilities and rates."

    def predict_proba(self, fixtures: pl.DataFrame) -> np.ndarray:
        return np.random.default_rng(5).dirichlet([4, 3, 3], fixtures.height)

    def predict_rates(self, fixtures: pl.DataFrame) -> np.ndarray:
        return np.random.default_rng(6).gamma(5, 0.3, (fixtures.height, 2))


PREDICTED = forecast_fixtures(Fixed(), UPCOMING)


def open_ledger(home: Path) -> Engine:
    "A database with the matches, all of them played in the end."
    engine = open_database(Settings(home=home).database_dsn)
    league = dict(
        league='SIM', name='Simulated', country='Nowhere', tier=1, time_zone='UTC', teams=6
    )
    snapshot = dict(
        snapshot_id='s',
        source='sample',
        url='sample:',
        kind='results',
        sha256='0' * 64,
        bytes=0,
        fetched_at=NOW,
        path='',
        sequence=1,
        rows=0,
    )
    with write_transaction(engine) as connection:
        upsert(connection, schema.leagues, [league])
        upsert(connection, schema.snapshots, [snapshot])
        upsert(
            connection,
            schema.matches,
            [row | {'source': 'sample', 'snapshot_id': 's'} for row in MATCHES.to_dicts()],
        )
    return engine


def append(home: Path, engine: Engine, forecasts: pl.DataFrame, **changes: object) -> int:
    options = dict(
        model='SIM-fixed',
        model_version='1',
        as_of=NOW,
        created_at=NOW,
        data_fingerprint='d',
        feature_fingerprint='f',
        run_id='r',
    )
    return append_forecasts(engine, home / 'anchors.jsonl', forecasts, **(options | changes))


def verify(home: Path) -> LedgerVerification:
    "Verify the ledger by a new connection."
    engine = open_database(Settings(home=home).database_dsn)
    try:
        return verify_ledger(engine, home / 'anchors.jsonl')
    finally:
        engine.dispose()


def problems(home: Path) -> str:
    return '\n'.join(verify(home).problems)


def intrude(home: Path) -> sqlite3.Connection:
    "A connection such as any SQLite client makes it."
    return sqlite3.connect(home / 'football.db', isolation_level=None)


def unguard(connection: sqlite3.Connection) -> None:
    "Drop every trigger and switch off the checks."
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    ).fetchall():
        connection.execute(f'DROP TRIGGER {name}')
    connection.execute('PRAGMA ignore_check_constraints=ON')
    connection.execute('PRAGMA synchronous=OFF')


def insert(
    connection: sqlite3.Connection, table: str, row: dict[str, object], how: str = 'INSERT'
) -> None:
    names = ', '.join(row)
    connection.execute(
        f"{how} INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )


def stored(connection: sqlite3.Connection, table: str, where: str) -> dict[str, object]:
    "One row as the file holds it."
    cursor = connection.execute(f'SELECT * FROM {table} WHERE {where}')
    return dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))


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
    return with_seal(
        last,
        **(
            dict(sequence=10, previous_seal=last['seal'], prediction_id='f' * 32, model_version='2')
            | changes
        ),
    )


def reseal(connection: sqlite3.Connection, first: int, **changes: object) -> None:
    "Change one forecast and rebuild the chain from there to the end."
    previous = stored(connection, 'predictions', f'sequence = {first}')['previous_seal']
    for sequence in range(first, 10):
        row = with_seal(
            stored(connection, 'predictions', f'sequence = {sequence}'),
            previous_seal=previous,
            **changes,
        )
        connection.execute(f'DELETE FROM predictions WHERE sequence = {sequence}')
        insert(connection, 'predictions', row)
        previous, changes = row['seal'], {}


@pytest.fixture(scope='module')
def original(tmp_path_factory, sqlite) -> Path:
    "Nine forecasts in three appends, all settled."
    home = tmp_path_factory.mktemp('original')
    engine = open_ledger(home)
    for batch in range(3):
        append(
            home,
            engine,
            PREDICTED[3 * batch : 3 * batch + 3],
            as_of=NOW + timedelta(hours=batch),
            run_id=f'r{batch}',
        )
    settle_forecasts(engine, MATCHES, END, 's')
    engine.dispose()
    return home


@pytest.fixture
def sealed(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / 'sealed'))


@pytest.fixture
def intruder(sealed) -> Iterator[sqlite3.Connection]:
    with closing(intrude(sealed)) as connection:
        yield connection


@pytest.fixture
def free(intruder) -> sqlite3.Connection:
    "An intruder who has dropped the triggers."
    unguard(intruder)
    return intruder


@pytest.fixture
def fresh(home) -> Iterator[Engine]:
    engine = open_ledger(home)
    yield engine
    engine.dispose()


# ---- nothing happened


def test_an_untouched_ledger_has_no_problems(sealed):
    verification = verify(sealed)
    assert (
        verification.forecasts,
        verification.settlements,
        verification.anchors,
        verification.problems,
    ) == (9, 9, 3, [])


def test_the_last_anchor_is_the_head_of_the_chain(sealed):
    lines = [json.loads(line) for line in (sealed / 'anchors.jsonl').read_text().splitlines()]
    assert ([line['sequence'] for line in lines], lines[-1]['seal']) == (
        [3, 6, 9],
        verify(sealed).head_seal,
    )


# ---- with triggers

CHANGES = (
    [
        f'UPDATE {how} predictions SET {name} = {name}'
        for name in FORECASTS
        for how in ('', 'OR REPLACE')
    ]
    + [f'UPDATE settlements SET {name} = {name}' for name in SETTLED]
    + [
        'UPDATE OR IGNORE predictions SET p_home = 0.9',
        'UPDATE OR IGNORE settlements SET rps = 0',
        'DELETE FROM predictions',
        'DELETE FROM settlements',
        'DELETE FROM predictions WHERE sequence = 9',
        'DELETE FROM settlements WHERE revision = 1',
        'REPLACE INTO predictions SELECT * FROM predictions',
        'REPLACE INTO settlements SELECT * FROM settlements',
        'INSERT INTO predictions SELECT * FROM predictions WHERE true '
        'ON CONFLICT DO UPDATE SET p_home = 0.9',
        'INSERT INTO settlements SELECT * FROM settlements WHERE true '
        'ON CONFLICT DO UPDATE SET rps = 0',
    ]
)


@pytest.mark.parametrize('statement', CHANGES)
def test_the_database_refuses_to_change_what_is_written(sealed, intruder, statement):
    with pytest.raises(sqlite3.IntegrityError, match=r'append-only|is a chain'):
        intruder.execute(statement)
    assert verify(sealed).problems == []


def test_a_forecast_that_follows_the_last_one_can_be_added(sealed, intruder):
    insert(intruder, 'predictions', following(intruder))
    verification = verify(sealed)
    assert (verification.forecasts, verification.problems) == (10, [])


@pytest.mark.parametrize(
    'how',
    ['INSERT', 'INSERT OR REPLACE', 'INSERT OR IGNORE', 'INSERT OR FAIL', 'INSERT OR ROLLBACK'],
)
@pytest.mark.parametrize(
    'changes',
    [
        {'sequence': 9},
        {'sequence': 1},
        {'sequence': 11},
        {'sequence': 0},
        {'sequence': -1},
        {'sequence': 'ten'},
        {'sequence': 9.5},
        {'previous_seal': schema.GENESIS_SEAL},
        {'previous_seal': 'f' * 64},
        {'previous_seal': ''},
    ],
    ids=str,
)
def test_the_database_refuses_a_forecast_that_does_not_follow_the_last_one(
    sealed, intruder, changes, how
):
    with pytest.raises(
        sqlite3.IntegrityError, match=r'predictions is a chain|the row exists already'
    ):
        insert(intruder, 'predictions', following(intruder) | changes, how)
    assert verify(sealed).problems == []


@pytest.mark.parametrize('how', ['INSERT', 'INSERT OR REPLACE'])
@pytest.mark.parametrize(
    'same',
    [('prediction_id',), ('seal',), ('match_id', 'model', 'model_version', 'as_of')],
    ids='-'.join,
)
def test_the_database_refuses_a_forecast_that_takes_the_place_of_another(
    sealed, intruder, same, how
):
    taken = stored(intruder, 'predictions', 'sequence = 2')
    with pytest.raises(sqlite3.IntegrityError, match='the row exists already'):
        insert(
            intruder, 'predictions', following(intruder) | {name: taken[name] for name in same}, how
        )
    assert verify(sealed).problems == []


@pytest.mark.parametrize('table', ['predictions', 'settlements'])
def test_the_database_refuses_a_row_that_takes_the_hidden_number_of_another(
    sealed, intruder, table
):
    "SQLite numbers rows by itself; a new row with an old number would push the old one out."
    row = (
        following(intruder)
        if table == 'predictions'
        else stored(intruder, table, 'true') | {'revision': 2}
    )
    with pytest.raises(sqlite3.Error):
        insert(intruder, table, {'rowid': 2} | row, 'INSERT OR REPLACE')


@pytest.mark.parametrize('how', ['INSERT', 'INSERT OR REPLACE'])
def test_the_database_refuses_a_settlement_that_exists(sealed, intruder, how):
    with pytest.raises(sqlite3.IntegrityError, match='settlements is append-only'):
        insert(intruder, 'settlements', stored(intruder, 'settlements', 'true') | {'rps': 0.0}, how)
    assert verify(sealed).problems == []


@pytest.mark.parametrize('minutes', [0, 1, 1_000_000])
def test_the_database_refuses_a_forecast_at_or_after_kickoff(sealed, intruder, minutes):
    moment = UPCOMING['kickoff'][-1] + timedelta(minutes=minutes)
    with pytest.raises(sqlite3.IntegrityError, match='before_kickoff'):
        insert(intruder, 'predictions', following(intruder, as_of=f'{moment:%Y-%m-%d %H:%M:%S.%f}'))
    assert verify(sealed).problems == []


@pytest.mark.parametrize(
    'changes',
    [
        {'p_home': 1.5},
        {'p_home': -0.1},
        {'p_home': 0.0, 'p_draw': 0.0},
        {'predicted_result': 'home'},
    ],
    ids=str,
)
def test_the_database_refuses_a_forecast_that_makes_no_sense(sealed, intruder, changes):
    with pytest.raises(sqlite3.IntegrityError, match='CHECK'):
        insert(intruder, 'predictions', following(intruder, **changes))
    assert verify(sealed).problems == []


def test_a_forecast_with_a_false_seal_gets_in_and_is_named(sealed, intruder):
    insert(intruder, 'predictions', following(intruder) | {'seal': 'f' * 64})
    assert 'forecast 10 of' in problems(sealed)


# ---- without triggers: forecasts


def other(name: str, value: object) -> object:
    "The smallest change of a stored value."
    if isinstance(value, float):
        return math.nextafter(value, 2)
    if isinstance(value, int):
        return value + 100
    if isinstance(schema.predictions.c[name].type, schema.UtcDateTime):
        return value[:-1] + ('1' if value[-1] == '0' else '0')
    return value[:-1] + ('x' if value[-1] != 'x' else 'y')


@pytest.mark.parametrize('sequence', [1, 5, 9])
@pytest.mark.parametrize('name', FORECASTS)
def test_an_edited_forecast_is_named(sealed, free, name, sequence):
    value = other(name, stored(free, 'predictions', f'sequence = {sequence}')[name])
    assert (
        free.execute(
            f'UPDATE predictions SET {name} = ? WHERE sequence = ?', (value, sequence)
        ).rowcount
        == 1
    )
    place = value if name == 'sequence' else sequence
    assert f'forecast {place} of' in problems(sealed)


@pytest.mark.parametrize('name', ['home_rate', 'away_rate'])
def test_a_rate_that_was_deleted_is_named(sealed, free, name):
    free.execute(f'UPDATE predictions SET {name} = NULL WHERE sequence = 5')
    assert 'forecast 5 of' in problems(sealed)


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('p_home', 5.0),
        ('p_home', -0.5),
        ('p_home', math.inf),
        ('p_home', 'high'),
        ('home_rate', b'\0'),
        ('home_rate', math.inf),
        ('model', b'\xff'),
        ('model', 7),
        ('match_id', ''),
        ('kickoff', 'soon'),
        ('kickoff', 0),
        ('as_of', ''),
        ('created_at', '2026-13-45 00:00:00.000000'),
        ('sequence', 'five'),
        ('sequence', 5.5),
        ('predicted_result', 'victory'),
    ],
)
def test_a_value_that_makes_no_sense_is_named(sealed, free, name, value):
    free.execute(f'UPDATE predictions SET {name} = ? WHERE sequence = 5', (value,))
    assert problems(sealed) != ''


@pytest.mark.parametrize(
    ('removed', 'problem'),
    [
        ([1], 'forecast 1 was removed'),
        ([5], 'forecast 5 was removed'),
        ([9], 'removed from the end'),
        ([1, 2, 3], 'forecasts 1 to 3 were removed'),
        ([4, 5], 'forecasts 4 to 5 were removed'),
        ([6, 7, 8, 9], 'forecasts 6 to 9 were removed from the end'),
        (list(range(1, 10)), 'forecasts 1 to 9 were removed from the end'),
    ],
    ids=str,
)
def test_forecasts_that_were_removed_are_named(sealed, free, removed, problem):
    free.execute(f"DELETE FROM predictions WHERE sequence IN ({', '.join(map(str, removed))})")
    assert problem in problems(sealed)


def test_removal_that_is_hidden_by_renumbering_is_named(sealed, free):
    free.execute('DELETE FROM predictions WHERE sequence = 4')
    free.execute('UPDATE predictions SET sequence = sequence - 1 WHERE sequence > 4')
    text = problems(sealed)
    assert 'forecast 4 does not follow the one before it' in text
    assert 'removed from the end' in text


@pytest.mark.parametrize(('first', 'second'), [(1, 2), (4, 6), (1, 9)])
def test_two_forecasts_that_changed_places_are_named(sealed, free, first, second):
    for before, after in ((first, -1), (second, first), (-1, second)):
        free.execute('UPDATE predictions SET sequence = ? WHERE sequence = ?', (after, before))
    text = problems(sealed)
    for place in (first, second):
        assert f'forecast {place} of' in text


@pytest.mark.parametrize(
    'columns',
    [['sequence', 'previous_seal', 'seal'], ['sequence']],
    ids=['with new seals', 'with their seals'],
)
def test_two_forecasts_that_changed_contents_are_named(sealed, free, columns):
    first, second = (stored(free, 'predictions', f'sequence = {sequence}') for sequence in (4, 5))
    free.execute('DELETE FROM predictions WHERE sequence IN (4, 5)')
    for place, content in ((first, second), (second, first)):
        insert(free, 'predictions', content | {name: place[name] for name in columns})
    assert 'forecast 4 of' in problems(sealed)


def test_columns_that_changed_names_are_found(sealed, intruder):
    "Renaming a column is not an UPDATE, and no trigger sees it."
    for before, after in (('p_home', 'p_other'), ('p_away', 'p_home'), ('p_other', 'p_away')):
        intruder.execute(f'ALTER TABLE predictions RENAME COLUMN {before} TO {after}')
    assert 'forecast 1 of' in problems(sealed)


def test_a_table_that_was_dropped_is_found(sealed, intruder):
    intruder.execute('DROP TABLE predictions')
    assert 'forecasts 1 to 9 were removed from the end' in problems(sealed)


@pytest.mark.parametrize('sealed_well', [True, False])
def test_a_forecast_that_was_slipped_in_is_named(sealed, free, sealed_well):
    before, row = stored(free, 'predictions', 'sequence = 4'), following(free)
    row = (
        with_seal(row, sequence=5, previous_seal=before['seal'])
        if sealed_well
        else row | {'sequence': 5}
    )
    free.execute('UPDATE predictions SET sequence = -sequence - 1 WHERE sequence > 4')
    free.execute('UPDATE predictions SET sequence = -sequence WHERE sequence < 0')
    insert(free, 'predictions', row)
    text = problems(sealed)
    assert 'forecast 6 does not follow the one before it' in text
    assert ('forecast 5 of' in text) == (not sealed_well)


@pytest.mark.parametrize('first', [1, 3, 5, 9])
def test_a_rebuilt_chain_is_named(sealed, free, first):
    reseal(free, first, p_home=0.1, p_draw=0.1, p_away=0.8)
    free.execute('DELETE FROM settlements')
    assert (
        'forecast 9 has another seal than its anchor outside the database: the chain was rebuilt'
        in problems(sealed)
    )


def test_a_rebuilt_chain_and_went_on_is_named(sealed, free):
    reseal(free, 8, run_id='another')
    engine = open_database(f"sqlite:///{sealed / 'football.db'}")
    assert append(sealed, engine, PREDICTED, model='SIM-next') == 9
    engine.dispose()
    assert (
        'forecast 9 has another seal than its anchor outside the database: the chain was rebuilt'
        in verify(sealed).problems
    )


@pytest.mark.parametrize('again', [1, 4, 9])
def test_a_chain_that_was_cut_and_went_on_otherwise_is_named(sealed, free, again):
    free.execute('DELETE FROM settlements')
    free.execute('DELETE FROM predictions WHERE sequence > 5')
    engine = open_database(f"sqlite:///{sealed / 'football.db'}")
    append(sealed, engine, PREDICTED[:again], model='SIM-better')
    engine.dispose()
    assert {
        1: 'forecasts 7 to 9 were removed',
        4: 'two different seals of forecast 9',
        9: 'forecast 9 has another seal',
    }[again] in problems(sealed)


def test_a_forecast_that_was_sealed_for_a_match_under_way_is_named(sealed, free):
    insert(
        free,
        'predictions',
        following(free, as_of=f"{UPCOMING['kickoff'][-1]:%Y-%m-%d %H:%M:%S.%f}"),
    )
    assert 'forecast 10' in problems(sealed)


MOMENTS = st.datetimes().map(lambda moment: moment.isoformat(' ', 'microseconds'))


def any_value(name: str) -> st.SearchStrategy[object]:
    kind = schema.predictions.c[name].type
    if isinstance(kind, schema.UtcDateTime):
        return MOMENTS
    if isinstance(kind, schema.Float):
        return st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 1)
    return (
        st.integers(-(2**63), 2**63 - 1)
        if isinstance(kind, schema.Integer)
        else st.text(max_size=70)
    )


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sequence=st.integers(1, 9),
    change=st.sampled_from(FORECASTS).flatmap(
        lambda name: st.tuples(st.just(name), any_value(name))
    ),
)
def test_no_change_of_any_value_goes_unnoticed(sealed, free, sequence, change):
    name, value = change
    before = stored(free, 'predictions', f'sequence = {sequence}')
    try:
        free.execute(f'UPDATE predictions SET {name} = ? WHERE sequence = ?', (value, sequence))
    except sqlite3.IntegrityError:
        assume(False)
    place = value if name == 'sequence' else sequence
    try:
        assume(stored(free, 'predictions', f'sequence = {place}') != before)
        assert problems(sealed) != ''
    finally:
        free.execute(f'UPDATE predictions SET {name} = ? WHERE sequence = ?', (before[name], place))


# ---- without triggers: anchors and settlements


def test_missing_anchors_are_named(sealed):
    (sealed / 'anchors.jsonl').unlink()
    assert 'no anchor outside the database' in problems(sealed)


@pytest.mark.parametrize(
    'garbage',
    [
        b'garbage',
        b'',
        b'{"sequence": 9',
        b'null',
        b'9',
        b'"9"',
        b'[]',
        b'{}',
        b'{"sequence": 9}',
        b'{"sequence": "nine", "seal": "x"}',
        b'{"sequence": [9], "seal": "x"}',
        b'{"sequence": 0, "seal": "x"}',
        b'{"sequence": 9, "seal": "x"}',
        b'\xff\xfe',
        'Grüße'.encode('latin-1'),
        b'\0' * 80,
    ],
    ids=repr,
)
def test_garbage_among_the_anchors_is_named(sealed, garbage):
    with open(sealed / 'anchors.jsonl', 'ab') as file:
        file.write(garbage + b'\n')
    assert 'anchors.jsonl' in problems(sealed)


@pytest.mark.parametrize('torn', [b'{"sequence": 9, "se', b'\xc3'])
def test_an_anchor_is_noted_also_behind_a_torn_line(sealed, torn):
    with open(sealed / 'anchors.jsonl', 'ab') as file:
        file.write(torn)
    engine = open_database(f"sqlite:///{sealed / 'football.db'}")
    assert append(sealed, engine, PREDICTED, model='SIM-next') == 9
    engine.dispose()
    verification = verify(sealed)
    assert (verification.anchors, len(verification.problems)) == (4, 1)


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('prediction_id', "'x'"),
        ('revision', '2'),
        ('settled_as_of', "'2000-01-01 00:00:00.000000'"),
        ('home_goals', '9'),
        ('away_goals', '9'),
        ('outcome', "'home'"),
        ('hit', '1 - hit'),
        ('rps', '0'),
        ('log_loss', '0'),
        ('brier', '0'),
        ('run_id', "'x'"),
        ('home_goals', '-1'),
        ('home_goals', "'two'"),
        ('rps', "'low'"),
        ('rps', '9e999'),
        ('brier', "x'00'"),
        ('settled_as_of', "'now'"),
        ('outcome', "'victory'"),
    ],
)
def test_an_edited_settlement_is_named(sealed, free, name, value):
    draw = stored(free, 'settlements', "outcome = 'draw'")['prediction_id']
    assert (
        free.execute(
            f'UPDATE settlements SET {name} = {value} WHERE prediction_id = ?', (draw,)
        ).rowcount
        == 1
    )
    assert 'settlement' in problems(sealed)


def test_a_settlement_with_another_score_of_the_same_outcome_is_named(sealed, free):
    assert (
        free.execute(
            "UPDATE settlements SET home_goals = home_goals + 3 WHERE outcome = 'home'"
        ).rowcount
        > 0
    )
    assert 'settlement' in problems(sealed)


def test_a_settlement_without_a_forecast_is_named(sealed, intruder):
    insert(
        intruder,
        'settlements',
        stored(intruder, 'settlements', 'true') | {'prediction_id': 'nobody'},
    )
    assert 'settlement of nobody has no forecast' in problems(sealed)


# ---- adding


def test_appending_twice_adds_nothing(home, fresh):
    assert [append(home, fresh, PREDICTED), append(home, fresh, PREDICTED)] == [9, 0]
    assert ((home / 'anchors.jsonl').read_text().count('\n'), verify(home).problems) == (1, [])


def test_what_is_missing_is_added_and_what_is_there_is_left(home, fresh):
    assert [append(home, fresh, PREDICTED[::2]), append(home, fresh, PREDICTED)] == [5, 4]
    assert (count_rows(fresh)['predictions'], verify(home).problems) == (9, [])


def test_nothing_to_add_is_nothing(home, fresh):
    assert append(home, fresh, PREDICTED.clear()) == 0
    verification = verify(home)
    assert (
        verification.forecasts,
        verification.anchors,
        verification.head_seal,
        verification.problems,
    ) == (
        0,
        0,
        schema.GENESIS_SEAL,
        [],
    )


def test_the_moment_counts_and_not_its_time_zone(home, fresh):
    zone = timezone(timedelta(hours=2))
    assert [
        append(home, fresh, PREDICTED, as_of=NOW.astimezone(zone), created_at=NOW.astimezone(zone)),
        append(home, fresh, PREDICTED),
    ] == [9, 0]
    assert verify(home).problems == []


@pytest.mark.parametrize('hours', [0, 1])
def test_a_forecast_at_or_after_kickoff_is_refused_with_all_that_came_with_it(home, fresh, hours):
    first = PREDICTED['kickoff'].min()
    with pytest.raises(
        ValueError,
        match=f"match {PREDICTED['match_id'][0]} kicked off at {first:%Y-%m-%d %H:%M} UTC"
        '.*made before the match',
    ):
        append(home, fresh, PREDICTED, as_of=first + timedelta(hours=hours))
    assert (count_rows(fresh)['predictions'], (home / 'anchors.jsonl').exists()) == (0, False)


@pytest.mark.parametrize(
    ('name', 'value'),
    [('match_id', 'nowhere'), ('p_home', 0.9), ('predicted_result', 'home'), ('confidence', None)],
)
def test_one_bad_forecast_keeps_all_out(home, fresh, name, value):
    last = pl.col('match_id') == PREDICTED['match_id'][-1]
    with pytest.raises(DBAPIError):
        append(
            home,
            fresh,
            PREDICTED.with_columns(pl.when(last).then(pl.lit(value)).otherwise(name).alias(name)),
        )
    assert (count_rows(fresh)['predictions'], verify(home).problems) == (0, [])


def test_the_same_match_twice_in_one_append_keeps_all_out(home, fresh):
    with pytest.raises(DBAPIError, match=r'exists already|duplicate key'):
        append(home, fresh, pl.concat([PREDICTED, PREDICTED[:1]]))
    assert count_rows(fresh)['predictions'] == 0


# ---- crashes and crowds


def test_a_crash_before_the_anchor_is_made_up_for_by_the_next_run(home, fresh, monkeypatch):
    append(home, fresh, PREDICTED[:3])

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, 'anchor_head', crash)
        with pytest.raises(KeyboardInterrupt):
            append(home, fresh, PREDICTED)
    assert ((home / 'anchors.jsonl').read_text().count('\n'), count_rows(fresh)['predictions']) == (
        1,
        9,
    )
    assert append(home, fresh, PREDICTED) == 0
    verification = verify(home)
    assert (verification.forecasts, verification.anchors, verification.problems) == (9, 2, [])


def test_an_anchor_that_cannot_be_written_is_an_error_that_the_next_run_makes_up_for(home, fresh):
    (home / 'anchors.jsonl').mkdir()
    with pytest.raises(OSError, match=r'anchors\.jsonl'):
        append(home, fresh, PREDICTED)
    (home / 'anchors.jsonl').rmdir()
    assert append(home, fresh, PREDICTED) == 0
    verification = verify(home)
    assert (verification.forecasts, verification.anchors, verification.problems) == (9, 1, [])


def append_much(home: Path, model: str, start: multiprocessing.synchronize.Barrier) -> None:
    "Forecasts of a model of one's own and of one that others use too, in turns."
    engine = open_database(Settings(home=home).database_dsn)
    start.wait(60)
    for turn in range(10):
        for name in (model, 'SIM-common'):
            append(home, engine, PREDICTED, model=name, as_of=NOW + timedelta(minutes=turn))
    engine.dispose()


def test_processes_that_append_at_once_make_one_chain(home, fresh):
    context = multiprocessing.get_context('spawn')
    start = context.Barrier(2)
    processes = [
        context.Process(target=append_much, args=(home, f'SIM-{i}', start)) for i in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    verification = verify(home)
    assert (verification.forecasts, verification.problems) == (3 * 10 * 9, [])
    written = read_frame(
        fresh,
        select(
            schema.predictions.c.model, schema.predictions.c.as_of, schema.predictions.c.match_id
        ),
    )
    assert not written.is_duplicated().any()
    assert set(written['model'].value_counts().iter_rows()) == {
        ('SIM-0', 90),
        ('SIM-1', 90),
        ('SIM-common', 90),
    }


# ---- settling


def settle_at(engine: Engine, moment: datetime) -> pl.DataFrame:
    return settle_forecasts(engine, read_matches(engine, moment), moment, 's')


def rewrite(engine: Engine, place: int, **columns: object) -> None:
    "Change what the table says about one of the coming matches."
    with write_transaction(engine) as connection:
        connection.execute(
            update(schema.matches)
            .where(schema.matches.c.match_id == UPCOMING['match_id'][place])
            .values(columns)
        )


def test_nothing_is_settled_before_its_result_is_known(home, fresh):
    append(home, fresh, PREDICTED)
    for known_at in UPCOMING['result_known_at'].unique().sort():
        assert settle_at(fresh, known_at - timedelta(seconds=1)).height == 0
        due = UPCOMING.filter(pl.col('result_known_at') == known_at)
        assert settle_at(fresh, known_at).height == due.height
    assert (count_rows(fresh)['settlements'], verify(home).problems) == (9, [])


def test_a_settlement_holds_the_scores_of_the_forecast(home, fresh):
    append(home, fresh, PREDICTED)
    settle_at(fresh, END)
    for row in read_settled_forecasts(fresh).to_dicts():
        home_goals, away_goals, given = (
            row['home_goals'],
            row['away_goals'],
            [row['p_home'], row['p_draw'], row['p_away']],
        )
        code = 0 if home_goals > away_goals else 1 if home_goals == away_goals else 2
        happened = [float(code == i) for i in range(3)]
        assert row['outcome'] == ('home', 'draw', 'away')[code]
        assert row['hit'] == (given[code] == max(given))
        assert row['rps'] == pytest.approx(
            ((given[0] - happened[0]) ** 2 + (given[2] - happened[2]) ** 2) / 2
        )
        assert row['log_loss'] == pytest.approx(-math.log(given[code]))
        assert row['brier'] == pytest.approx(
            sum((p - q) ** 2 for p, q in zip(given, happened, strict=True))
        )


@pytest.mark.parametrize(
    'status', ['postponed', 'abandoned', 'cancelled', 'awarded', 'in_play', 'scheduled']
)
def test_a_match_that_is_not_finished_stays_open(home, fresh, status):
    append(home, fresh, PREDICTED)
    if status == 'awarded':
        rewrite(fresh, 4, status=status, home_goals=3, away_goals=0)
    else:
        rewrite(fresh, 4, status=status, home_goals=None, away_goals=None, result_known_at=None)
    assert settle_at(fresh, END)['prediction_id'].n_unique() == 8
    later = END + timedelta(days=30)
    rewrite(
        fresh,
        4,
        status='finished',
        kickoff=later,
        home_goals=1,
        away_goals=1,
        result_known_at=later + timedelta(hours=2),
    )
    assert settle_at(fresh, later).height == 0
    assert settle_at(fresh, later + timedelta(hours=2)).select('outcome', 'revision').rows() == [
        ('draw', 1)
    ]


def test_settling_twice_adds_nothing(home, fresh):
    append(home, fresh, PREDICTED)
    assert [settle_at(fresh, END + timedelta(days=days)).height for days in (0, 0, 1)] == [
        9,
        0,
        0,
    ]


@pytest.mark.parametrize('side', ['home_goals', 'away_goals'])
def test_a_corrected_result_adds_a_revision_and_the_latest_counts(home, fresh, side):
    append(home, fresh, PREDICTED)
    settle_at(fresh, END)
    for revision, goals in ((2, UPCOMING[side][0] + 7), (3, UPCOMING[side][0])):
        rewrite(fresh, 0, **{side: goals})
        assert settle_at(fresh, END).select('revision', side).rows() == [(revision, goals)]
        latest = read_settled_forecasts(fresh)
        assert (
            latest.height,
            latest.filter(match_id=UPCOMING['match_id'][0]).select('revision', side).rows(),
        ) == (9, [(revision, goals)])
    assert (count_rows(fresh)['settlements'], verify(home).problems) == (11, [])


def test_every_forecast_of_a_match_is_settled(home, fresh):
    for hour in range(3):
        append(home, fresh, PREDICTED, as_of=NOW + timedelta(hours=hour))
    assert settle_at(fresh, END).height == 27


def test_a_forecast_that_was_certain_and_wrong_is_no_edited_settlement(home, fresh):
    sure = pl.when(pl.col('home_goals') > pl.col('away_goals')).then(0.0).otherwise(1.0)
    scored = PREDICTED.with_columns(
        p_home=sure,
        p_draw=pl.lit(0.0),
        p_away=1 - sure,
        predicted_result=pl.lit('draw'),
        confidence=pl.lit(1.0),
    )
    append(home, fresh, scored)
    assert settle_at(fresh, END)['log_loss'].is_infinite().all()
    assert verify(home).problems == []
