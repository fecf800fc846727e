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

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import DBAPIError

from football_pred.core import schema
from football_pred.core.as_of import read_matches
from football_pred.core.database import count_rows, open_database, read_frame, write_transaction
from football_pred.core.ledger_log import HeadFile
from football_pred.core.settings import Settings
from football_pred.forecasts.ledger import read_settled_forecasts, settle_forecasts
from tests.support.ledgers import (
    END,
    MATCHES,
    NOW,
    PREDICTED,
    UPCOMING,
    append,
    following,
    heads_of,
    insert,
    intrude,
    moment_text,
    open_ledger,
    play,
    problems,
    reseal,
    stored,
    unguard,
    verify,
    with_seal,
)

FORECASTS = schema.predictions.columns.keys()
SETTLED = schema.settlements.columns.keys()


@pytest.fixture(scope='module')
def original(tmp_path_factory, sqlite) -> Path:
    "Nine live forecasts in three appends, all settled: entries 2 to 10 and 11 to 19 of the log."
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
    play(engine)
    settle_forecasts(engine, heads_of(home), MATCHES, END, 's')
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
    counts = {'openings': 1, 'live forecasts': 9, 'settlements': 9}
    assert (verification.entries, verification.counts) == (19, counts)
    assert (verification.forecasts, verification.settlements) == (9, 9)
    assert (verification.heads, verification.problems) == (8, [])  # four in table and in file


def test_the_last_line_of_the_file_is_the_head_of_the_log(sealed):
    lines = [json.loads(line) for line in heads_of(sealed).path.read_text().splitlines()]
    assert [line['size'] for line in lines] == [4, 7, 10, 19]
    assert lines[-1] == verify(sealed).head


# ---- with triggers

CHANGES = (
    [
        f'UPDATE {how} predictions SET {name} = {name}'
        for name in FORECASTS
        for how in ('', 'OR REPLACE')
    ]
    + [f'UPDATE settlements SET {name} = {name}' for name in SETTLED]
    + [
        f'{change} {table}{values}'
        for table in ('ledger_entries', 'ledger_heads')
        for change, values in (
            ('UPDATE', ' SET size = size' if table == 'ledger_heads' else ' SET leaf = leaf'),
            ('DELETE FROM', ''),
            ('REPLACE INTO', f' SELECT * FROM {table}'),
        )
    ]
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
    with pytest.raises(
        sqlite3.IntegrityError,
        match=r'append-only|is a chain|is a log|heads of the log|time of|another result',
    ):
        intruder.execute(statement)
    assert verify(sealed).problems == []


def test_a_forecast_that_follows_the_last_one_gets_in_and_is_missed_in_the_log(sealed, intruder):
    insert(intruder, 'predictions', following(intruder))
    verification = verify(sealed)
    assert verification.problems == [
        f'forecast {"f" * 32} is not in the log: it was inserted past it'
    ]


@pytest.mark.parametrize('minutes', [-60 * 24 * 300, -6, 6])
def test_the_database_refuses_a_forecast_of_another_time(sealed, intruder, minutes):
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    with pytest.raises(sqlite3.IntegrityError, match='predictions keeps the time of its database'):
        insert(intruder, 'predictions', following(intruder, created_at=moment_text(moment)))
    assert verify(sealed).problems == []


def test_the_database_refuses_a_live_forecast_of_a_match_that_is_over(sealed, intruder):
    with pytest.raises(sqlite3.IntegrityError, match='a forecast of it is a replay'):
        insert(intruder, 'predictions', following(intruder, kind='live'))


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
    with pytest.raises(sqlite3.IntegrityError, match=r'settlements is append-only|another result'):
        insert(intruder, 'settlements', stored(intruder, 'settlements', 'true') | {'rps': 0.0}, how)
    assert verify(sealed).problems == []


@pytest.mark.parametrize('changes', [{'revision': 2}, {'revision': 3, 'home_goals': 9}], ids=str)
def test_the_database_refuses_a_revision_without_cause(sealed, intruder, changes):
    row = stored(intruder, 'settlements', 'true') | changes
    with pytest.raises(sqlite3.IntegrityError, match='revised by another result alone'):
        insert(intruder, 'settlements', row)
    assert verify(sealed).problems == []


@pytest.mark.parametrize('minutes', [0, 1, 1_000_000])
def test_the_database_refuses_a_forecast_at_or_after_kickoff(sealed, intruder, minutes):
    moment = UPCOMING['kickoff'][-1] + timedelta(minutes=minutes)
    with pytest.raises(sqlite3.IntegrityError, match='before_kickoff'):
        insert(intruder, 'predictions', following(intruder, as_of=moment_text(moment)))
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
    assert 'is not in the log' in problems(sealed)


# ---- without triggers: forecasts


def other(name: str, value: object) -> object:
    "The smallest change of a stored value."
    if isinstance(value, float):
        return math.nextafter(value, 2)
    if isinstance(value, int):
        return value + 100
    if name == 'kind':
        return 'replay'
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
    name_of_it = f'entry {sequence + 1} (forecast '
    assert name_of_it in problems(sealed)


@pytest.mark.parametrize('name', ['home_rate', 'away_rate'])
def test_a_rate_that_was_deleted_is_named(sealed, free, name):
    free.execute(f'UPDATE predictions SET {name} = NULL WHERE sequence = 5')
    assert 'entry 6 (forecast ' in problems(sealed)


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


@pytest.mark.parametrize('removed', [[1], [5], [9], [1, 2, 3], [4, 5], list(range(1, 10))], ids=str)
def test_forecasts_that_were_removed_are_named(sealed, free, removed):
    free.execute(f"DELETE FROM predictions WHERE sequence IN ({', '.join(map(str, removed))})")
    text = problems(sealed)
    for sequence in removed:
        assert f'entry {sequence + 1} (forecast ' in text
    assert text.count('the row that it is about was removed') == len(removed)


@pytest.mark.parametrize('first', [2, 6, 10, 11, 19])
def test_a_log_that_was_cut_is_named(sealed, free, first):
    free.execute(f'DELETE FROM ledger_entries WHERE entry >= {first}')
    text = problems(sealed)
    assert f'entries {first:,} to 19 were removed from the end: table ledger_heads of' in text
    assert f'entries {first:,} to 19 were removed from the end: ledger-heads.jsonl of' in text
    assert 'is not in the log: it was inserted past it' in text


def test_an_entry_that_was_removed_is_named(sealed, free):
    free.execute('DELETE FROM ledger_entries WHERE entry = 6')
    assert 'its number is 7, expected 6' in problems(sealed)


def test_removal_that_is_hidden_by_renumbering_is_named(sealed, free):
    free.execute('DELETE FROM predictions WHERE sequence = 4')
    free.execute('UPDATE predictions SET sequence = sequence - 1 WHERE sequence > 4')
    text = problems(sealed)
    assert 'the row that it is about was removed' in text
    assert 'its previous_seal is not the seal of the forecast before it' in text


@pytest.mark.parametrize(('first', 'second'), [(1, 2), (4, 6), (1, 9)])
def test_two_forecasts_that_changed_places_are_named(sealed, free, first, second):
    for before, after in ((first, -1), (second, first), (-1, second)):
        free.execute('UPDATE predictions SET sequence = ? WHERE sequence = ?', (after, before))
    text = problems(sealed)
    for place in (first, second):
        assert f'entry {place + 1} (forecast ' in text


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
    assert 'entry 5 (forecast ' in problems(sealed)


def test_columns_that_changed_names_are_found(sealed, intruder):
    "Renaming a column is not an UPDATE, and no trigger sees it."
    for before, after in (('p_home', 'p_other'), ('p_away', 'p_home'), ('p_other', 'p_away')):
        intruder.execute(f'ALTER TABLE predictions RENAME COLUMN {before} TO {after}')
    assert 'entry 2 (forecast ' in problems(sealed)


def test_a_table_that_was_dropped_is_found(sealed, intruder):
    intruder.execute('DROP TABLE predictions')
    assert problems(sealed).count('the row that it is about was removed') == 9


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
    assert f'forecast {"f" * 32} is not in the log: it was inserted past it' in text
    assert 'entry 6 (forecast ' in text


@pytest.mark.parametrize('first', [1, 3, 5, 9])
def test_a_rebuilt_chain_is_named(sealed, free, first):
    reseal(free, first, p_home=0.1, p_draw=0.1, p_away=0.8)
    free.execute('DELETE FROM settlements')
    text = problems(sealed)
    assert 'the log was rewritten: table ledger_heads of' in text
    assert 'the log was rewritten: ledger-heads.jsonl of' in text
    assert f'entry {first + 1} (forecast ' in text


def test_a_rebuilt_chain_that_went_on_is_named(sealed, free):
    reseal(free, 8, run_id='another')
    engine = open_database(f"sqlite:///{sealed / 'football.db'}")
    assert append(sealed, engine, PREDICTED, model='SIM-next') == 9
    engine.dispose()
    assert 'the log was rewritten: ledger-heads.jsonl of' in problems(sealed)


@pytest.mark.parametrize('again', [1, 4, 9])
def test_a_log_that_was_cut_and_went_on_otherwise_is_named(sealed, free, again):
    free.execute('DELETE FROM settlements')
    free.execute('DELETE FROM predictions WHERE sequence > 5')
    free.execute('DELETE FROM ledger_entries WHERE entry > 6')
    free.execute('DELETE FROM ledger_heads WHERE size > 6')
    engine = open_database(f"sqlite:///{sealed / 'football.db'}")
    append(sealed, engine, PREDICTED[:again], model='SIM-better')
    engine.dispose()
    text = problems(sealed)
    assert 'entries 16 to 19 were removed from the end' in text or again < 9
    assert 'ledger-heads.jsonl of' in text


def test_a_forecast_that_was_sealed_for_a_match_under_way_is_named(sealed, free):
    insert(
        free,
        'predictions',
        following(free, as_of=moment_text(UPCOMING['kickoff'][-1])),
    )
    assert f'forecast {"f" * 32} is not in the log' in problems(sealed)


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


# ---- without triggers: file of heads, former anchors and settlements


def test_a_missing_file_of_heads_is_named(sealed):
    heads_of(sealed).path.unlink()
    assert 'ledger-heads.jsonl is missing, and the database has 4 earlier heads' in (
        problems(sealed)
    )


def test_a_file_of_heads_that_was_made_anew_is_named_for_ever(sealed):
    heads_of(sealed).path.unlink()
    engine = open_database(f"sqlite:///{sealed / 'football.db'}")
    for model in ('SIM-next', 'SIM-after'):
        assert append(sealed, engine, PREDICTED, model=model) == 9
        text = problems(sealed)
        assert 'ledger-heads.jsonl begins with the head of 28 entries' in text
        assert 'the database has 4 earlier heads: the file was removed' in text
    engine.dispose()


GARBAGE = [
    b'garbage',
    b'',
    b'{"size": 9',
    b'null',
    b'9',
    b'"9"',
    b'[]',
    b'{}',
    b'{"size": 9}',
    b'{"size": "nine", "root": "x"}',
    b'{"size": [9], "root": "x"}',
    b'{"size": true, "root": "x"}',
    b'{"size": -1, "root": "x"}',
    b'{"size": 19, "root": "x"}',
    b'\xff\xfe',
    'Grüße'.encode('latin-1'),
    b'\0' * 80,
    b'[' * 100_000,
]


@pytest.mark.parametrize('garbage', GARBAGE, ids=lambda line: repr(line[:30]))
def test_garbage_among_the_heads_is_told(sealed, garbage):
    "A line that is no JSON object tells nothing and is noted; what looks like a head is checked."
    with open(heads_of(sealed).path, 'ab') as file:
        file.write(garbage + b'\n')
    verification = verify(sealed)
    told = '\n'.join(verification.problems + verification.notes)
    assert garbage == b'' or 'ledger-heads.jsonl' in told
    looks_like_a_head = (b'{"size": 9}', b'{"size": -1, "root": "x"}', b'{"size": 19, "root": "x"}')
    assert bool(verification.problems) == (garbage in looks_like_a_head)


@pytest.mark.parametrize('torn', [b'{"size": 9, "ro', b'\xc3'])
def test_a_torn_line_is_no_problem_and_the_next_head_replaces_it(sealed, torn):
    with open(heads_of(sealed).path, 'ab') as file:
        file.write(torn)
    verification = verify(sealed)
    assert verification.problems == []
    assert 'line 5 of ledger-heads.jsonl is no head' in '\n'.join(verification.notes)
    engine = open_database(f"sqlite:///{sealed / 'football.db'}")
    assert append(sealed, engine, PREDICTED, model='SIM-next') == 9
    engine.dispose()
    verification = verify(sealed)
    assert (verification.heads, verification.problems, verification.notes) == (10, [], [])


def note_former_anchors(home: Path, connection: sqlite3.Connection, *sequences: int) -> Path:
    "The file of seals that the release before kept beside the database."
    path = home / 'ledger-anchors.jsonl'
    lines = []
    for sequence in sequences:
        row = stored(connection, 'predictions', f'sequence = {sequence}')
        lines.append(json.dumps({'sequence': sequence, 'seal': row['seal']}) + '\n')
    path.write_text(''.join(lines))
    return path


def test_former_anchors_of_an_untouched_chain_are_no_problem(sealed, intruder):
    note_former_anchors(sealed, intruder, 3, 6, 9)
    assert verify(sealed).problems == []


@pytest.mark.parametrize('first', [1, 3, 5, 9])
def test_a_chain_that_was_rebuilt_is_named_by_former_anchors(sealed, free, first):
    note_former_anchors(sealed, free, 3, 6, 9)
    reseal(free, first, run_id='another')
    assert (
        'forecast 9 has another seal than its anchor outside the database: the chain was rebuilt'
        in problems(sealed)
    )


def test_a_chain_that_was_cut_is_named_by_former_anchors(sealed, free):
    note_former_anchors(sealed, free, 3, 6, 9)
    free.execute('DELETE FROM predictions WHERE sequence > 5')
    assert 'forecasts 6 to 9 were removed from the end' in problems(sealed)


@pytest.mark.parametrize('garbage', GARBAGE, ids=lambda line: repr(line[:30]))
def test_garbage_among_former_anchors_tells_nothing(sealed, intruder, garbage):
    with open(note_former_anchors(sealed, intruder, 3), 'ab') as file:
        file.write(garbage + b'\n')
    assert verify(sealed).problems == []


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
    assert 'settlement nobody/1 is not in the log: it was inserted past it' in problems(sealed)


# ---- adding


def test_appending_twice_adds_nothing(home, fresh):
    assert [append(home, fresh, PREDICTED), append(home, fresh, PREDICTED)] == [9, 0]
    assert (heads_of(home).path.read_text().count('\n'), verify(home).problems) == (1, [])


def test_what_is_missing_is_added_and_what_is_there_is_left(home, fresh):
    assert [append(home, fresh, PREDICTED[::2]), append(home, fresh, PREDICTED)] == [5, 4]
    assert (count_rows(fresh)['predictions'], verify(home).problems) == (9, [])


def test_nothing_to_add_is_nothing(home, fresh):
    assert append(home, fresh, PREDICTED.clear()) == 0
    verification = verify(home)
    assert (verification.entries, verification.forecasts) == (1, 0)  # the opening
    assert (verification.heads, verification.problems) == (2, [])


def test_the_moment_counts_and_not_its_time_zone(home, fresh):
    zone = timezone(timedelta(hours=2))
    assert [
        append(home, fresh, PREDICTED, as_of=NOW.astimezone(zone)),
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
    assert (count_rows(fresh)['predictions'], heads_of(home).path.exists()) == (0, False)


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


def test_a_crash_before_the_head_is_kept_is_made_up_for_by_the_next_run(home, fresh, monkeypatch):
    append(home, fresh, PREDICTED[:3])

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HeadFile, 'keep', crash)
        with pytest.raises(KeyboardInterrupt):
            append(home, fresh, PREDICTED)
    assert (heads_of(home).path.read_text().count('\n'), count_rows(fresh)['predictions']) == (1, 9)
    assert verify(home).problems == []
    assert append(home, fresh, PREDICTED) == 0
    verification = verify(home)
    assert (verification.forecasts, verification.heads, verification.problems) == (9, 4, [])


@pytest.mark.parametrize('crashes', [1, 2, 5])
def test_crashes_before_the_first_heads_are_kept_are_no_removal(home, fresh, monkeypatch, crashes):
    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HeadFile, 'keep', crash)
        for number in range(crashes):
            with pytest.raises(KeyboardInterrupt):
                append(home, fresh, PREDICTED[number : number + 1])
            assert verify(home).problems == []
    assert append(home, fresh, PREDICTED) == 8  # the first stop alone was after its transaction
    verification = verify(home)
    assert (verification.heads, verification.problems) == (4, [])


def test_a_head_that_cannot_be_kept_keeps_all_out(home, fresh):
    heads_of(home).path.mkdir()
    with pytest.raises(OSError, match=r'ledger-heads\.jsonl'):
        append(home, fresh, PREDICTED)
    assert count_rows(fresh)['predictions'] == 0
    heads_of(home).path.rmdir()
    assert append(home, fresh, PREDICTED) == 9
    verification = verify(home)
    assert (verification.forecasts, verification.heads, verification.problems) == (9, 2, [])


def append_much(
    home: Path,
    model: str,
    start: multiprocessing.synchronize.Barrier,
    forecasts: pl.DataFrame,
    as_of: datetime,
) -> None:
    "Forecasts of a model of one's own and of one that others use too, in turns."
    engine = open_database(Settings(home=home).database_dsn)
    start.wait(60)
    for turn in range(10):
        for name in (model, 'SIM-common'):
            append(home, engine, forecasts, model=name, as_of=as_of + timedelta(minutes=turn))
    engine.dispose()


def test_processes_that_append_at_once_make_one_chain(home, fresh):
    context = multiprocessing.get_context('spawn')
    start = context.Barrier(2)
    processes = [
        context.Process(target=append_much, args=(home, f'SIM-{i}', start, PREDICTED, NOW))
        for i in range(2)
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


def settle_at(home: Path, engine: Engine, moment: datetime) -> pl.DataFrame:
    return settle_forecasts(engine, heads_of(home), read_matches(engine, moment), moment, 's')


def rewrite(engine: Engine, place: int, **columns: object) -> None:
    "Change what the table holds of one of the coming matches."
    with write_transaction(engine) as connection:
        connection.execute(
            update(schema.matches)
            .where(schema.matches.c.match_id == UPCOMING['match_id'][place])
            .values(columns)
        )


def test_nothing_is_settled_before_its_result_is_known(home, fresh):
    append(home, fresh, PREDICTED)
    play(fresh)
    for known_at in UPCOMING['result_known_at'].unique().sort():
        assert settle_at(home, fresh, known_at - timedelta(seconds=1)).height == 0
        due = UPCOMING.filter(pl.col('result_known_at') == known_at)
        assert settle_at(home, fresh, known_at).height == due.height
    assert (count_rows(fresh)['settlements'], verify(home).problems) == (9, [])


def test_a_settlement_holds_the_scores_of_the_forecast(home, fresh):
    append(home, fresh, PREDICTED)
    play(fresh)
    settle_at(home, fresh, END)
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
    play(fresh)
    if status == 'awarded':
        rewrite(fresh, 4, status=status, home_goals=3, away_goals=0)
    else:
        rewrite(fresh, 4, status=status, home_goals=None, away_goals=None, result_known_at=None)
    assert settle_at(home, fresh, END)['prediction_id'].n_unique() == 8
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
    assert settle_at(home, fresh, later).height == 0
    assert settle_at(home, fresh, later + timedelta(hours=2)).select(
        'outcome', 'revision'
    ).rows() == [('draw', 1)]


def test_settling_twice_adds_nothing(home, fresh):
    append(home, fresh, PREDICTED)
    play(fresh)
    assert [settle_at(home, fresh, END + timedelta(days=days)).height for days in (0, 0, 1)] == [
        9,
        0,
        0,
    ]


@pytest.mark.parametrize('side', ['home_goals', 'away_goals'])
def test_a_corrected_result_adds_a_revision_and_the_latest_counts(home, fresh, side):
    append(home, fresh, PREDICTED)
    play(fresh)
    settle_at(home, fresh, END)
    for revision, goals in ((2, UPCOMING[side][0] + 7), (3, UPCOMING[side][0])):
        rewrite(fresh, 0, **{side: goals})
        assert settle_at(home, fresh, END).select('revision', side).rows() == [(revision, goals)]
        latest = read_settled_forecasts(fresh)
        assert (
            latest.height,
            latest.filter(match_id=UPCOMING['match_id'][0]).select('revision', side).rows(),
        ) == (9, [(revision, goals)])
    assert (count_rows(fresh)['settlements'], verify(home).problems) == (11, [])


def test_every_forecast_of_a_match_is_settled(home, fresh):
    for hour in range(3):
        append(home, fresh, PREDICTED, as_of=NOW + timedelta(hours=hour))
    play(fresh)
    assert settle_at(home, fresh, END).height == 27


def test_a_forecast_that_was_certain_and_wrong_is_no_edited_settlement(home, fresh):
    sure = pl.when(pl.col('home_goals') > pl.col('away_goals')).then(0.0).otherwise(1.0)
    scored = PREDICTED.with_columns(
        p_home=sure,
        p_draw=pl.lit(0.0),
        p_away=1 - sure,
        predicted_result=pl.when(sure == 0).then(pl.lit('away_win')).otherwise(pl.lit('home_win')),
        confidence=pl.lit(1.0),
    )
    append(home, fresh, scored)
    play(fresh)
    assert settle_at(home, fresh, END)['log_loss'].is_infinite().all()
    assert verify(home).problems == []
