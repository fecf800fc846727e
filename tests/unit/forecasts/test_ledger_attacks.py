"""Attacks on the ledger by hands that hold its files, or the writer's role on PostgreSQL.

Each is caught, and told. Who holds the files may recompute everything in them; heads that were kept elsewhere tell."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import DBAPIError

from football_pred.core import schema
from football_pred.core.as_of import read_matches
from football_pred.core.database import open_database, open_engine, write_transaction
from football_pred.core.head_signing import create_signing_key, load_signing_key
from football_pred.core.ledger_log import (
    LedgerClockError,
    NewEntry,
    record_entry,
    record_restore,
)
from football_pred.core.maintenance import WRITER_ROLE, create_roles
from football_pred.forecasts.ledger import (
    make_prediction_id,
    settle_forecasts,
)
from football_pred.forecasts.ledger_verification import (
    LedgerVerification,
    read_head_file,
    verify_ledger,
)
from football_pred.forecasts.predict import forecast_fixtures
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.load import load_new_payloads
from football_pred.ingest.sources import create_source
from football_pred.ingest.team_names import load_reference_data
from tests.support.ledgers import (
    END,
    MATCHES,
    NOW,
    PREDICTED,
    UPCOMING,
    Fixed,
    append,
    fill_matches,
    following,
    forge,
    guard,
    heads_of,
    insert,
    intrude,
    moment_text,
    open_ledger,
    play,
    problems,
    stored,
    unguard,
    verify,
)

Hands = sqlite3.Connection
PROMOTION = {'model': 'SIM-fixed', 'version': '1', 'league': 'SIM', 'role': 'champion'}


def kept(home: Path) -> dict[str, list[dict[str, Any]]]:
    "Heads that somebody else has read from the file in time."
    return {'the head that I kept': read_head_file(heads_of(home).path).heads}


@pytest.fixture(scope='module')
def original(tmp_path_factory, sqlite) -> Path:
    "A promotion, nine live forecasts and their scores; heads are signed."
    home = tmp_path_factory.mktemp('original')
    engine = open_ledger(home)
    create_signing_key(heads_of(home).key_path)
    record_entry(engine, heads_of(home), NewEntry('promotion', 'SIM/1', PROMOTION))
    for batch in range(3):
        forecasts = PREDICTED[3 * batch : 3 * batch + 3]
        append(home, engine, forecasts, as_of=NOW + timedelta(hours=batch))
    play(engine)
    settle_forecasts(engine, heads_of(home), MATCHES, END, 's')
    engine.dispose()
    return home


@pytest.fixture
def sealed(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / 'sealed'))


@pytest.fixture
def outside(original) -> dict[str, list[dict[str, Any]]]:
    return kept(original)


@pytest.fixture
def hands(sealed) -> Iterator[Hands]:
    "Hands with access to the file, that have dropped the guards."
    with closing(intrude(sealed)) as connection:
        unguard(connection)
        yield connection


def test_nothing_is_wrong_before(sealed, outside):
    verification = verify(sealed, kept_heads=outside)
    assert (verification.problems, verification.entries, verification.heads) == ([], 20, 15)


def test_a_forger_who_changes_nothing_changes_nothing(sealed, outside):
    forge(sealed)
    assert verify(sealed, kept_heads=outside).problems == []


# ---- what fell: rewritten with all that lies beside it


def all_hits(connection: Any) -> None:
    "Let every result be the one that was predicted."
    for prediction_id, result in connection.execute(
        select(schema.predictions.c.prediction_id, schema.predictions.c.predicted_result)
    ).all():
        goals = {'home_win': (2, 0), 'draw': (1, 1), 'away_win': (0, 2)}[result]
        same = schema.settlements.c.prediction_id == prediction_id
        values = dict(zip(('home_goals', 'away_goals'), goals, strict=True))
        connection.execute(update(schema.settlements).where(same).values(values))


def better_forecasts(connection: Any) -> None:
    "Let forecasts of draws have been more certain."
    connection.exec_driver_sql(
        'UPDATE predictions SET p_home = p_home - 0.01, p_draw = p_draw + 0.01'
    )
    connection.exec_driver_sql('UPDATE predictions SET confidence = max(p_home, p_draw, p_away)')


def without_the_worst(connection: Any) -> None:
    "Remove the forecast with the worst score and its settlement."
    worst = 'SELECT prediction_id FROM settlements ORDER BY rps DESC LIMIT 1'
    (prediction_id,) = connection.exec_driver_sql(worst).one()
    for table in ('settlements', 'predictions'):
        connection.exec_driver_sql(f'DELETE FROM {table} WHERE prediction_id = ?', (prediction_id,))
    log = 'DELETE FROM ledger_entries WHERE subject LIKE ?'
    connection.exec_driver_sql(log, (prediction_id + '%',))
    sequences = connection.exec_driver_sql('SELECT sequence FROM predictions ORDER BY 1').all()
    for number, (sequence,) in enumerate(sequences, 1):
        connection.exec_driver_sql(
            'UPDATE predictions SET sequence = ? WHERE sequence = ?', (number, sequence)
        )


def without_the_worst_scores(connection: Any) -> None:
    "Remove the three settlements with the worst scores."
    query = 'SELECT prediction_id FROM settlements ORDER BY rps DESC LIMIT 3'
    for (prediction_id,) in connection.exec_driver_sql(query).all():
        connection.exec_driver_sql(
            'DELETE FROM settlements WHERE prediction_id = ?', (prediction_id,)
        )
        log = 'DELETE FROM ledger_entries WHERE subject = ?'
        connection.exec_driver_sql(log, (f'{prediction_id}/1',))


def without_the_tail(connection: Any) -> None:
    "Cut everything after the first three forecasts."
    connection.exec_driver_sql('DELETE FROM settlements')
    connection.exec_driver_sql('DELETE FROM predictions WHERE sequence > 3')
    connection.exec_driver_sql('DELETE FROM ledger_entries WHERE entry > 5')


def earlier_by_300_days(connection: Any) -> None:
    "Let everything have been made and recorded 300 days earlier."
    for table, column in (('predictions', 'created_at'), ('ledger_entries', 'recorded_at')):
        connection.exec_driver_sql(
            f"UPDATE {table} SET {column} = strftime('%Y-%m-%d %H:%M:%S.000000', {column}, "
            "'-300 days')"
        )


REWRITES = [
    better_forecasts,
    all_hits,
    without_the_worst,
    without_the_worst_scores,
    without_the_tail,
    earlier_by_300_days,
]


@pytest.mark.parametrize('signed', [True, False], ids=['with the key', 'unsigned'])
@pytest.mark.parametrize('rewrite', REWRITES, ids=lambda rewrite: rewrite.__name__)
def test_what_was_rewritten_with_all_that_lies_beside_it_is_told_by_a_head_elsewhere(
    sealed, outside, rewrite, signed
):
    if not signed:
        heads_of(sealed).key_path.unlink()
    forge(sealed, rewrite)
    text = problems(sealed, kept_heads=outside)
    shorter = (without_the_tail, without_the_worst, without_the_worst_scores)
    cut = rewrite in shorter
    told = 'were removed from the end' if cut else 'the log was rewritten: the head that I kept of'
    assert told in text


@pytest.mark.parametrize(
    ('rewrite', 'told'),
    [
        (all_hits, 'has other goals than table matches has of'),
        (without_the_worst_scores, 'live forecasts of it have no score: run settle'),
    ],
    ids=lambda value: getattr(value, '__name__', None),
)
def test_what_does_not_fit_the_matches_is_told_without_a_head_elsewhere(sealed, rewrite, told):
    forge(sealed, rewrite)
    assert told in problems(sealed, clock_time=END + timedelta(days=30))


def test_heads_that_were_forged_without_the_key_are_told(sealed, original):
    key = load_signing_key(heads_of(original).key_path).public_key().public_bytes_raw().hex()
    heads_of(sealed).key_path.unlink()
    forge(sealed, better_forecasts)
    assert problems(sealed, public_keys=[key]) == (
        'the last head, of 20 entries, is unsigned: its origin is not attested'
    )
    create_signing_key(sealed / 'forger.pem')
    (sealed / 'forger.pem').rename(heads_of(sealed).key_path)
    forge(sealed)
    assert 'which is none of those: its origin is not attested' in problems(
        sealed, public_keys=[key]
    )


def test_a_ledger_that_was_emptied_is_told(sealed, outside, hands):
    for table in ('settlements', 'predictions', 'ledger_entries', 'ledger_heads'):
        hands.execute(f'DELETE FROM {table}')
    guard(hands)
    assert 'entries 1 to 20 were removed from the end: ledger-heads.jsonl of' in problems(sealed)
    heads_of(sealed).path.unlink()
    assert problems(sealed) == ''  # nothing is left that could tell
    assert 'entries 1 to 20 were removed from the end: the head that I kept of' in problems(
        sealed, kept_heads=outside
    )


def test_another_ledger_in_its_place_is_told(sealed, outside, hands):
    for table in ('settlements', 'predictions', 'ledger_entries', 'ledger_heads'):
        hands.execute(f'DELETE FROM {table}')
    heads_of(sealed).path.unlink()
    guard(hands)
    engine = open_database(f'sqlite:///{sealed}/football.db')
    append(sealed, engine, PREDICTED)
    engine.dispose()
    assert problems(sealed) == ''
    assert 'is of another ledger' in problems(sealed, kept_heads=outside)


def test_an_older_copy_is_told(original, tmp_path, outside):
    home = tmp_path / 'older'
    engine = open_ledger(home)
    append(home, engine, PREDICTED[:3])
    copy = shutil.copytree(home, tmp_path / 'copy')
    append(home, engine, PREDICTED)
    engine.dispose()
    elsewhere = kept(home)
    assert verify(copy).problems == []
    assert 'entries 5 to 10 were removed from the end: the head that I kept of' in problems(
        copy, kept_heads=elsewhere
    )
    shutil.copy(heads_of(home).path, heads_of(copy).path)
    assert 'entries 5 to 10 were removed from the end: ledger-heads.jsonl of' in problems(copy)


# ---- what fell: corrections


def false_corrections(connection: Any) -> list[tuple[Any, ...]]:
    "A second revision of each settlement, that makes a hit of it."
    query = (
        """SELECT p.prediction_id, predicted_result, seal FROM predictions AS p ORDER BY sequence"""
    )
    return list(connection.execute(query))


def correct(connection: Hands, **changes: object) -> int:
    "Insert a second revision of each settlement that is no hit."
    goals = {'home_win': (2, 0), 'draw': (1, 1), 'away_win': (0, 2)}
    count = 0
    for prediction_id, result, _ in false_corrections(connection):
        row = stored(connection, 'settlements', 'prediction_id = ?', [prediction_id])
        home_goals, away_goals = goals[result]
        if not row['hit']:
            new = {'revision': 2, 'home_goals': home_goals, 'away_goals': away_goals, 'hit': 1}
            insert(connection, 'settlements', row | new | changes)
            count += 1
    return count


def test_a_second_revision_past_the_log_is_told(sealed):
    with closing(intrude(sealed)) as connection:  # the guards let it in
        count = correct(connection)
    assert count > 2
    assert problems(sealed).count('/2 is not in the log: it was inserted past it') == count


def enter(connection: Hands, home: Path, kind: str, subject: str, **changes: object) -> None:
    "Add an entry about a row to the log, with all that belongs to it."
    last = stored(connection, 'ledger_entries', 'entry = (SELECT max(entry) FROM ledger_entries)')
    row = {'entry': last['entry'] + 1, 'kind': kind, 'subject': subject, 'leaf': '', 'subtrees': ''}
    moment = moment_text(datetime.now(UTC))
    insert(connection, 'ledger_entries', row | {'recorded_at': moment, 'content': None} | changes)


def test_a_second_revision_in_the_log_is_told_by_the_matches(sealed, outside, hands):
    correct(hands)
    for prediction_id, _, _ in false_corrections(hands):
        query = 'SELECT count(*) FROM settlements WHERE prediction_id = ?'
        if hands.execute(query, [prediction_id]).fetchone()[0] == 2:
            enter(hands, sealed, 'correction', f'{prediction_id}/2')
    forge(sealed)
    verification = verify(sealed, kept_heads=outside)
    assert verification.counts['corrections'] > 2
    told = [text for text in verification.problems if 'has other goals than table matches' in text]
    assert len(told) == verification.counts['corrections'] == len(verification.problems)


def test_a_revision_without_cause_is_told(sealed, hands):
    row = stored(hands, 'settlements', 'true')
    insert(hands, 'settlements', row | {'revision': 2})
    enter(hands, sealed, 'correction', f"{row['prediction_id']}/2")
    forge(sealed)
    assert 'a correction without cause' in problems(sealed)


# ---- what fell: clocks


def test_a_clock_that_was_set_back_stops_the_ledger(sealed):
    engine = open_database(f'sqlite:///{sealed}/football.db')
    back = NOW - timedelta(days=300)
    with pytest.raises(LedgerClockError, match='correct the clock'):
        append(sealed, engine, PREDICTED, model='SIM-late', as_of=back, clock=lambda _: back)
    engine.dispose()
    assert verify(sealed).problems == []


def test_a_false_clock_of_a_connection_does_not_pass_the_last_row(sealed):
    "SQLite lets a connection define its functions anew, also those that its triggers call."
    back = NOW - timedelta(days=300)
    with closing(intrude(sealed)) as connection:
        connection.create_function('strftime', -1, lambda *_: moment_text(back))
        row = following(connection, created_at=moment_text(back), kind='live')
        with pytest.raises(sqlite3.IntegrityError, match='keeps the time of its database'):
            insert(connection, 'predictions', row)


def test_a_false_clock_after_the_last_row_is_told_by_a_head_elsewhere(sealed, hands):
    "The ledger stood still; its clock was set to a moment before a match that is over."
    moment = NOW - timedelta(days=3)
    query = "UPDATE ledger_entries SET recorded_at = ? WHERE entry > 14"
    hands.execute(query, [moment_text(moment)])
    forge(sealed)
    text = problems(sealed)
    assert 'before the entry that precedes it' in text


def replayed_as_live(connection: Hands, home: Path, created_at: datetime) -> None:
    "Add a forecast of a match that is over, as if it had been made before."
    row = following(connection, kind='live', created_at=moment_text(created_at))
    row['prediction_id'] = make_prediction_id(row['match_id'], 'SIM-fixed', '2', NOW)
    insert(connection, 'predictions', row)
    enter(connection, home, 'forecast', row['prediction_id'], recorded_at=moment_text(created_at))


def test_a_forecast_that_was_made_after_the_result_is_told(sealed, hands):
    replayed_as_live(hands, sealed, END + timedelta(hours=1))
    forge(sealed)
    text = problems(sealed)
    assert 'it is called live, but was made at' in text
    assert 'settled its match already' in text


def test_a_forecast_that_says_it_was_made_earlier_than_the_last_one_is_told(sealed, hands):
    replayed_as_live(hands, sealed, NOW - timedelta(days=300))
    forge(sealed)
    text = problems(sealed)
    assert 'before the forecast that precedes it' in text
    assert 'before the entry that precedes it' in text


# ---- what fell: guards and files


def hollow(connection: Hands) -> None:
    for name, statement in schema.sqlite_guards().items():
        head = statement.split('BEGIN')[0]
        connection.execute(f'DROP TRIGGER IF EXISTS {name}')
        connection.execute(f'{head}BEGIN SELECT 1; END')


def test_hollow_guards_are_told(sealed, hands):
    hollow(hands)
    assert problems(sealed).count('is disabled, or not as it should be') == len(
        schema.sqlite_guards()
    )


def test_guards_that_were_dropped_are_told(sealed, hands):
    assert problems(sealed).count('of the database is missing') == len(schema.sqlite_guards())


def test_a_trigger_that_belongs_to_somebody_else_is_told(sealed):
    with closing(intrude(sealed)) as connection:
        connection.execute(
            'CREATE TRIGGER later AFTER INSERT ON Predictions BEGIN '
            "INSERT INTO audit_log (at, actor, action, subject, detail) VALUES ('', '', '', '', ''); END"
        )
    assert 'trigger later of the ledger is none of its guards' in problems(sealed)


def test_a_file_of_heads_that_was_deleted_and_made_anew_is_told(sealed):
    heads_of(sealed).path.unlink()
    engine = open_database(f'sqlite:///{sealed}/football.db')
    append(sealed, engine, PREDICTED, model='SIM-next')
    engine.dispose()
    assert 'the database has 5 earlier heads: the file was removed' in problems(sealed)


def test_a_kick_off_that_was_moved_is_told(sealed, hands):
    hands.execute('UPDATE matches SET kickoff = ? WHERE match_id = ?', MOVED)
    assert problems(sealed).count('and no payload has told the change') == 1


MOVED = [moment_text(UPCOMING['kickoff'][0] + timedelta(days=9)), UPCOMING['match_id'][0]]


# ---- further attacks with access to the file: what is done, and what is told

FIRST = 'SELECT prediction_id FROM predictions WHERE sequence = 1'
EDITS = {
    'a probability by less than 1e-9': (
        ['UPDATE predictions SET p_home = p_home + 1e-15 WHERE sequence = 4'],
        r'entry 6 \(forecast .* was edited: its content does not match its hash',
    ),
    'a rate, by one unit in its last place': (
        ['UPDATE predictions SET home_rate = home_rate + 4e-16 WHERE sequence = 4'],
        r'entry 6 \(forecast .* was edited',
    ),
    'live made a replay': (
        ["UPDATE predictions SET kind = 'replay' WHERE sequence = 2"],
        r'entry 4 \(forecast .* was edited',
    ),
    'an infinite probability': (
        ['UPDATE predictions SET p_home = 1e400 WHERE sequence = 2'],
        r'entry 4 \(forecast .* was edited',
    ),
    'a probability that is no number': (
        ["UPDATE predictions SET p_home = 'NaN' WHERE sequence = 2"],
        r"entry 4 \(forecast .* was edited: column p_home holds 'NaN'",
    ),
    'a huge probability': (
        ['UPDATE predictions SET p_home = 1e200 WHERE sequence = 2'],
        r'entry 4 \(forecast .* was edited',
    ),
    'an identifier with a look-alike letter': (
        ["UPDATE predictions SET match_id = replace(match_id, 'a', '\u0430') WHERE sequence = 2"],
        r'entry 4 \(forecast .* was edited',
    ),
    'an identifier that ends at a zero': (
        ['UPDATE predictions SET match_id = match_id || char(0) || 1 WHERE sequence = 2'],
        r'entry 4 \(forecast .* was edited',
    ),
    'an identifier in other letters': (
        ['UPDATE predictions SET prediction_id = upper(prediction_id) WHERE sequence = 2'],
        r'entry 4 \(forecast .* the row that it is about was removed',
    ),
    'a text in place of a kick-off': (
        ["UPDATE predictions SET kickoff = 'later' WHERE sequence = 2"],
        r"entry 4 \(forecast .* was edited: column kickoff holds 'later'",
    ),
    'a kick-off of a match that is none': (
        ["UPDATE matches SET kickoff = 'later'"],
        r"table matches has 'later', and no payload has told the change",
    ),
    'a kick-off, and a change that no payload has told': (
        [
            'INSERT INTO fixture_changes SELECT match_id, "none", "kickoff", kickoff, "x", "x" '
            'FROM matches',
            "UPDATE matches SET kickoff = '2026-01-01 00:00:00.000000'",
        ],
        'and no payload has told the change',
    ),
    'the goals of a settlement': (
        ['UPDATE settlements SET home_goals = home_goals + 1'],
        r'entry \d+ \(settlement .* was edited',
    ),
    'the payload of a settlement': (
        ["UPDATE settlements SET payload_sha256 = 'ab'"],
        r'names the payload ab\.\.\., which table snapshots has not',
    ),
    'the payload of a settlement taken away': (
        ['UPDATE settlements SET payload_sha256 = NULL'],
        r'entry \d+ \(settlement .* was edited',
    ),
    'the digest of the payload in table snapshots': (
        ["UPDATE snapshots SET sha256 = 'cd'"],
        'names the payload 5555555555555555..., which table snapshots has not',
    ),
    'the subtrees of an entry': (
        [
            "UPDATE ledger_entries SET subtrees = substr(subtrees, 2) || substr(subtrees, 1, 1) WHERE entry = 8"
        ],
        r'entry 8 \(forecast .* the tree of entries up to it was changed',
    ),
    'the leaf of an entry': (
        ["UPDATE ledger_entries SET leaf = substr(leaf, 2) || substr(leaf, 1, 1) WHERE entry = 8"],
        r'entry 8 \(forecast .* its content does not match its hash',
    ),
    'the content of a promotion': (
        ["UPDATE ledger_entries SET content = replace(content, 'champion', 'challenger')"],
        r'entry 2 \(promotion SIM/1\) was edited: its content does not match its hash',
    ),
    'the content of a promotion is no JSON': (
        ["UPDATE ledger_entries SET content = '{\"role\"' WHERE kind = 'promotion'"],
        r'entry 2 \(promotion SIM/1\) was edited: its content is no JSON',
    ),
    'the content of a promotion is nested without end': (
        [
            "UPDATE ledger_entries SET content = replace(printf('%.99999c', '['), ' ', '[') "
            "WHERE kind = 'promotion'"
        ],
        r'entry 2 \(promotion SIM/1\) was edited',
    ),
    'the content of a promotion taken away': (
        ["UPDATE ledger_entries SET content = NULL WHERE kind = 'promotion'"],
        r'entry 2 \(promotion SIM/1\)',
    ),
    'the number of an entry': (
        ["UPDATE ledger_entries SET entry = 'two' WHERE entry = 2"],
        'its number is',
    ),
    'the kind of an entry': (
        ["UPDATE ledger_entries SET kind = 'correction' WHERE entry = 15"],
        r'entry 15 \(correction .* was edited',
    ),
    'the time of an entry by a microsecond': (
        [
            "UPDATE ledger_entries SET recorded_at = substr(recorded_at, 1, 25) || "
            "(substr(recorded_at, 26) + 1) % 10 WHERE entry = 8"
        ],
        r'entry 8 \(forecast .* was edited',
    ),
    'the subject of a settlement': (
        ["UPDATE ledger_entries SET subject = 'x' WHERE entry = 12"],
        r'entry 12 \(settlement x\): the row that it is about was removed',
    ),
    'an entry under another subject': (
        [
            "INSERT INTO ledger_entries SELECT 21, 'settlement', substr(subject, 1, 33) || '01', "
            'recorded_at, content, leaf, subtrees FROM ledger_entries WHERE entry = 12',
        ],
        r'entry 21 \(settlement .*/01\): the row that it is about was removed',
    ),
    'a head of the table': (
        ["UPDATE ledger_heads SET root = substr(root, 2) || substr(root, 1, 1) WHERE size = 11"],
        'the log was rewritten: table ledger_heads of|Head 4 of table ledger_heads',
    ),
    'the signature of a head': (
        [
            "UPDATE ledger_heads SET signature = substr(signature, 2) || substr(signature, 1, 1) WHERE size = 11"
        ],
        'Head 4 of table ledger_heads: it',
    ),
    'the time of a head': (
        ["UPDATE ledger_heads SET at = 'noon' WHERE size = 11"],
        'Head 4 of table ledger_heads: it',
    ),
    'a head of more entries than there are': (
        [
            "INSERT INTO ledger_heads SELECT 99, origin, root, at, NULL, NULL FROM ledger_heads "
            'WHERE size = 20'
        ],
        'entries 21 to 99 were removed from the end: table ledger_heads of',
    ),
    'the origin of the log': (
        [
            "UPDATE ledger_entries SET content = replace(content, 'origin', 'source') WHERE entry = 1"
        ],
        r'entry 1 \(opening log\) was edited',
    ),
    'a receipt of a place outside': (
        [
            "INSERT INTO ledger_anchors SELECT size, 'git', substr(root, 2) || substr(root, 1, 1), at, '{}' "
            'FROM ledger_heads WHERE size = 20'
        ],
        'the receipt of git for 20 entries is of another head',
    ),
    'columns that change their names': (
        [
            'ALTER TABLE predictions RENAME COLUMN p_home TO p_other',
            'ALTER TABLE predictions RENAME COLUMN p_away TO p_home',
            'ALTER TABLE predictions RENAME COLUMN p_other TO p_away',
        ],
        r'entry 3 \(forecast .* was edited',
    ),
}


@pytest.mark.parametrize('name', EDITS)
def test_what_is_edited_between_two_looks_is_told(sealed, hands, name):
    "The guards are dropped, and put back afterwards."
    statements, told = EDITS[name]
    for statement in statements:
        assert hands.execute(statement).rowcount != 0
    guard(hands)
    assert re.search(told, problems(sealed))


def test_a_view_in_place_of_a_table_is_told(sealed, hands):
    hands.execute('ALTER TABLE settlements RENAME TO scores')
    hands.execute('CREATE VIEW settlements AS SELECT * FROM scores WHERE hit')
    engine = open_engine(f'sqlite:///{sealed}/football.db')
    text = '\n'.join(verify_ledger(engine, heads_of(sealed)).problems)
    engine.dispose()
    assert 'the row that it is about was removed' in text
    assert 'guard settlements_UPDATE of the database is missing' in text


def test_kinds_that_were_swapped_with_everything_recomputed_are_told(original, tmp_path, sqlite):
    home = tmp_path / 'home'
    engine = open_ledger(home)
    append(home, engine, PREDICTED[:5])
    play(engine)
    append(home, engine, PREDICTED[5:])
    engine.dispose()
    elsewhere = kept(home)

    def swap(connection: Any) -> None:
        connection.exec_driver_sql(
            "UPDATE predictions SET kind = CASE kind WHEN 'live' THEN 'replay' ELSE 'live' END"
        )

    forge(home, swap)
    assert 'the log was rewritten: the head that I kept of' in problems(home, kept_heads=elsewhere)


def test_a_replay_of_a_match_that_was_put_off_is_told_when_it_is_called_live(sealed, hands):
    "The kick-off was moved, the match forecast after its result, and the kick-off moved back."
    hands.execute(
        'UPDATE matches SET result_known_at = ?, kickoff = ?',
        [moment_text(NOW - timedelta(days=1)), moment_text(NOW - timedelta(days=2))],
    )
    guard(hands)
    text = problems(sealed)
    assert 'is called live, and was made when the result was known' in text


def test_a_restore_that_never_was_is_told(sealed, outside):
    "A cut that calls itself a restore is lawful in form; it is noted, with the head that is lost."
    forge(sealed, without_the_tail)
    engine = open_database(f'sqlite:///{sealed}/football.db')
    record_restore(engine, heads_of(sealed), 'b', outside['the head that I kept'])
    engine.dispose()
    notes = '\n'.join(verify(sealed, kept_heads=outside).notes)
    assert 'says that the log went on from a backup' in notes


def test_a_key_that_others_can_read_signs_nothing(sealed):
    heads_of(sealed).key_path.chmod(0o644)
    engine = open_database(f'sqlite:///{sealed}/football.db')
    with pytest.raises(ValueError, match='chmod 600'):
        append(sealed, engine, PREDICTED, model='SIM-next')
    engine.dispose()


def test_a_seal_at_kick_off_is_no_live_forecast(sealed):
    "Within five minutes, the time of a row is its writer's word; a live one is refused after kick-off."
    kickoff = datetime.now(UTC) - timedelta(seconds=100)
    with closing(intrude(sealed)) as connection:
        connection.execute(
            "UPDATE matches SET status = 'in_play', home_goals = NULL, "
            'away_goals = NULL, result_known_at = NULL'
        )
        created_at = moment_text(max(kickoff - timedelta(seconds=1), NOW))
        last = stored(connection, 'predictions', 'sequence = 9')['created_at']
        row = following(
            connection,
            kind='live',
            kickoff=moment_text(kickoff),
            as_of=moment_text(kickoff - timedelta(days=1)),
            created_at=max(created_at, last),
        )
        with pytest.raises(sqlite3.IntegrityError):
            insert(connection, 'predictions', row)


# ---- hands with the writer's role on PostgreSQL

PASSWORDS = {'football_reader': 'r', WRITER_ROLE: 'w'}


@pytest.fixture
def shared(postgresql, tmp_path) -> Path:
    "A ledger on PostgreSQL: nine live forecasts, all settled; the home of its file of heads."
    fill_matches(postgresql)
    append(tmp_path, postgresql, PREDICTED)
    play(postgresql)
    settle_forecasts(postgresql, heads_of(tmp_path), MATCHES, END, 's')
    with write_transaction(postgresql) as connection:
        create_roles(connection, PASSWORDS)
    return tmp_path


@pytest.fixture
def writer(postgresql, shared) -> Iterator[Engine]:
    "A connection of the role that jobs use."
    url = postgresql.url.set(username=WRITER_ROLE, password='w')
    engine = open_engine(url.render_as_string(hide_password=False))
    yield engine
    engine.dispose()


def verify_shared(engine: Engine, home: Path, **options: object) -> LedgerVerification:
    return verify_ledger(engine, heads_of(home), **options)


def run_all(engine: Engine, *statements: str) -> None:
    with write_transaction(engine) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace('%', '%%'))


LEDGER = [table.name for table in schema.APPEND_ONLY]
FIRST_COLUMN = {table.name: table.columns.keys()[0] for table in schema.APPEND_ONLY}
REFUSED = [
    statement.format(table=table, column=FIRST_COLUMN[table])
    for table in LEDGER
    for statement in (
        'UPDATE {table} SET {column} = {column}',
        'DELETE FROM {table}',
        'TRUNCATE {table}',
        'TRUNCATE {table} CASCADE',
        'DROP TABLE {table}',
        'ALTER TABLE {table} DISABLE TRIGGER ALL',
        'ALTER TABLE {table} ADD COLUMN more text',
        'ALTER TABLE {table} ENABLE ROW LEVEL SECURITY',
        'CREATE RULE none AS ON INSERT TO {table} DO INSTEAD NOTHING',
        'CREATE TABLE part () INHERITS ({table})',
        'MERGE INTO {table} USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE',
        'WITH gone AS (DELETE FROM {table} RETURNING 1) SELECT * FROM gone',
    )
] + [
    'DROP TRIGGER predictions_chain ON predictions',
    'CREATE TRIGGER mine BEFORE INSERT ON predictions EXECUTE FUNCTION refuse_change()',
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    'ALTER FUNCTION refuse_predictions_chain() SET search_path = pg_temp, public',
    'ALTER FUNCTION refuse_predictions_clock() RENAME TO refuse_nothing',
    'SET session_replication_role = replica',
    'CREATE SCHEMA football_writer',
    'CREATE TABLE public.predictions_of_mine (a integer)',
    'SET ROLE postgres',
    'INSERT INTO predictions SELECT * FROM predictions ON CONFLICT (sequence) DO UPDATE SET p_home = 0.9',
    'INSERT INTO settlements SELECT * FROM settlements '
    'ON CONFLICT (prediction_id, revision) DO UPDATE SET rps = 0',
]


def test_the_writer_may_only_insert_into_the_ledger(writer, postgresql):
    query = """SELECT table_name || ' ' || privilege_type FROM information_schema.role_table_grants
    WHERE grantee = 'football_writer' AND table_name IN ({}) ORDER BY 1"""
    names = ', '.join(f"'{name}'" for name in LEDGER)
    with postgresql.connect() as connection:
        grants = connection.exec_driver_sql(query.format(names)).scalars().all()
    assert grants == sorted(f'{name} {what}' for name in LEDGER for what in ('INSERT', 'SELECT'))


def test_the_writer_is_refused_what_changes_the_ledger(writer, postgresql, shared):
    for statement in REFUSED:
        with pytest.raises(DBAPIError, match=r'permission denied|must be owner|append-only'):
            run_all(writer, statement)
    assert verify_shared(postgresql, shared).problems == []


def test_rows_that_exist_are_refused(writer, postgresql, shared):
    for table in ('predictions', 'settlements', 'ledger_entries', 'ledger_heads'):
        told = r'does not follow|another result|not that of the last|duplicate key|time of its'
        with pytest.raises(DBAPIError, match=told):
            run_all(writer, f'INSERT INTO {table} SELECT * FROM {table}')
        with pytest.raises(DBAPIError, match=told):
            run_all(writer, f'INSERT INTO {table} SELECT * FROM {table} ON CONFLICT DO NOTHING')
    assert verify_shared(postgresql, shared).problems == []


def copied(name: str, table: str, **values: str) -> str:
    "Insert the last row of a table with other values."
    columns = schema.metadata.tables[table].columns.keys()
    listed = ', '.join(f'"{column}"' for column in columns)
    selected = ', '.join(values.get(column, f'"{column}"') for column in columns)
    return f'INSERT INTO {table} ({listed}) SELECT {selected} FROM {table} {name}'


NEXT = {
    'sequence': 'sequence + 1',
    'previous_seal': 'seal',
    'seal': "repeat('a', 64)",
    'prediction_id': "repeat('f', 32)",
    'model': "'SIM-late'",
    'created_at': 'clock_timestamp()',
    'kind': "'replay'",
}
LAST = 'ORDER BY sequence DESC LIMIT 1'


@pytest.mark.parametrize(
    ('changes', 'told'),
    [
        ({'kind': "'live'"}, 'the match is over: a forecast of it is a replay'),
        ({'created_at': "clock_timestamp() - interval '300 days'"}, 'keeps the time of'),
        ({'created_at': "clock_timestamp() + interval '1 day'"}, 'keeps the time of'),
        ({'sequence': 'sequence + 2'}, 'does not follow the last one'),
        ({'previous_seal': "repeat('0', 64)"}, 'does not follow the last one'),
        ({'as_of': 'kickoff'}, 'before_kickoff'),
        ({'p_home': "'NaN'"}, 'probabilities'),
        ({'p_home': '2'}, 'probabilities'),
    ],
    ids=str,
)
def test_a_forecast_that_breaks_a_rule_is_refused(writer, postgresql, shared, changes, told):
    with pytest.raises(DBAPIError, match=told):
        run_all(writer, copied(LAST, 'predictions', **(NEXT | changes)))
    assert verify_shared(postgresql, shared).problems == []


def test_temporary_tables_do_not_shadow_those_that_guards_read(writer, postgresql, shared):
    "A temporary table comes first in a session, but not for the functions of guards."
    shadows = [
        'CREATE TEMP TABLE matches AS SELECT * FROM public.matches WHERE false',
        'CREATE TEMP TABLE predictions AS SELECT * FROM public.predictions WHERE false',
        'CREATE TEMP TABLE settlements AS SELECT * FROM public.settlements WHERE false',
        'CREATE TEMP TABLE ledger_entries AS SELECT * FROM public.ledger_entries WHERE false',
        'SET search_path = pg_temp, public',
    ]
    live = copied(LAST, 'predictions', **(NEXT | {'kind': "'live'"}))
    live = live.replace(' predictions ', ' public.predictions ')
    with pytest.raises(DBAPIError, match='a forecast of it is a replay'):
        run_all(writer, *shadows, live)
    row = copied("WHERE revision = 1 LIMIT 1", 'settlements', revision='2')
    row = row.replace(' settlements ', ' public.settlements ')
    with pytest.raises(DBAPIError, match='revised by another result alone'):
        run_all(writer, *shadows, row)
    entry = copied('ORDER BY entry DESC LIMIT 1', 'ledger_entries', entry='1', subject="'x'")
    with pytest.raises(DBAPIError, match=r'does not follow|keeps the time'):
        run_all(writer, *shadows, entry.replace(' ledger_entries ', ' public.ledger_entries '))
    assert verify_shared(postgresql, shared).problems == []


def test_temporary_triggers_of_the_names_of_guards_are_no_alarm(writer, postgresql, shared):
    with writer.connect() as connection:
        connection.exec_driver_sql('CREATE TEMP TABLE predictions (a integer)')
        connection.exec_driver_sql(
            'CREATE TRIGGER predictions_chain BEFORE INSERT ON pg_temp.predictions '
            'EXECUTE FUNCTION public.refuse_change()'
        )
        connection.commit()
        assert verify_shared(postgresql, shared).problems == []


def test_the_search_path_of_a_role_does_not_change_what_is_verified(writer, shared):
    run_all(writer, f'ALTER ROLE {WRITER_ROLE} SET search_path = pg_temp, public')
    writer.dispose()
    try:
        assert verify_shared(writer, shared).problems == []
    finally:
        run_all(writer, f'ALTER ROLE {WRITER_ROLE} RESET search_path')


ENTRY = {
    'entry': 'entry + 1',
    'recorded_at': 'clock_timestamp()',
    'kind': "'settlement'",
    'subject': "'x'",
}
LAST_ENTRY = 'ORDER BY entry DESC LIMIT 1'
INSERTED = {
    'a forecast past the log': (
        [copied(LAST, 'predictions', **NEXT)],
        f'forecast {"f" * 32} is not in the log: it was inserted past it',
    ),
    'a false correction past the log': (
        [copied('', 'settlements', revision='2', home_goals='home_goals + 7')],
        '/2 is not in the log: it was inserted past it',
    ),
    'an entry about nothing': (
        [copied(LAST_ENTRY, 'ledger_entries', **ENTRY)],
        r'entry 20 \(settlement x\): the row that it is about was removed',
    ),
    'an entry whose subject is no number': (
        [
            copied(
                LAST_ENTRY, 'ledger_entries', **(ENTRY | {'subject': "repeat('f', 32) || '/9e9'"})
            )
        ],
        r'entry 20 \(settlement f+/9e9\): the row that it is about was removed',
    ),
    'an entry whose subject is a huge number': (
        [
            copied(
                LAST_ENTRY,
                'ledger_entries',
                **(ENTRY | {'subject': "repeat('f', 32) || '/99999999999999999999'"}),
            )
        ],
        r'entry 20 \(settlement f+/9+\): the row that it is about was removed',
    ),
    'an entry about a row that has one': (
        [
            copied(
                "WHERE kind = 'settlement' ORDER BY entry DESC LIMIT 1",
                'ledger_entries',
                **(ENTRY | {'kind': "'correction'", 'subject': 'subject'}),
            )
        ],
        r'entry 20 \(correction .*its content does not match its hash',
    ),
    'a promotion with a false hash': (
        [
            copied(
                LAST_ENTRY,
                'ledger_entries',
                **(ENTRY | {'kind': "'promotion'", 'content': "'{}'"}),
            )
        ],
        r'entry 20 \(promotion x\) was edited',
    ),
    'a restore of more than there was': (
        [
            copied(
                LAST_ENTRY,
                'ledger_entries',
                **(ENTRY | {'kind': "'restore'", 'content': '\'{"size": 1e9}\''}),
            )
        ],
        r'entry 20 \(restore x\) was edited',
    ),
    'a receipt of a place outside': (
        [
            "INSERT INTO ledger_anchors SELECT size, 'rfc3161', repeat('0', 64), at, '{}' "
            'FROM ledger_heads'
        ],
        'the receipt of rfc3161 for 10 entries is of another head',
    ),
    'rows by COPY': (
        ['COPY'],
        'is not in the log: it was inserted past it',
    ),
}


def copy_row(engine: Engine) -> None:
    "Insert a correction by COPY, which fires row triggers as well."
    with engine.connect() as connection, connection.begin():
        values = connection.exec_driver_sql('SELECT * FROM settlements LIMIT 1').mappings().one()
        row = dict(values) | {'revision': 2, 'home_goals': 9}
        with connection.connection.cursor().copy('COPY settlements FROM STDIN') as copy:
            copy.write_row(list(row.values()))


@pytest.mark.parametrize('name', INSERTED)
def test_what_the_writer_inserts_past_the_ledger_is_told(writer, postgresql, shared, name):
    statements, told = INSERTED[name]
    if statements == ['COPY']:
        copy_row(writer)
    else:
        run_all(writer, *statements)
    text = '\n'.join(verify_shared(postgresql, shared).problems)
    assert re.search(told, text)


@pytest.mark.parametrize(
    'changes',
    [{'size': 'size + 1'}, {'size': '5'}, {'size': '1000000'}, {'at': "at + interval '1 hour'"}],
    ids=str,
)
def test_a_head_of_no_last_entry_is_refused(writer, postgresql, shared, changes):
    head = copied('ORDER BY size DESC LIMIT 1', 'ledger_heads', **changes)
    with pytest.raises(DBAPIError, match=r'not that of the last entry|duplicate key'):
        run_all(writer, head)
    assert verify_shared(postgresql, shared).problems == []


# ---- hands of the owner of the tables on PostgreSQL

BODY = "'BEGIN RETURN NEW; END'"
CHANGED = {
    'ALTER TABLE predictions DISABLE TRIGGER predictions_change': 'guard predictions_change of the database is disabled',
    'ALTER TABLE predictions ENABLE REPLICA TRIGGER predictions_clock': 'guard predictions_clock of the database is disabled',
    'DROP TRIGGER settlements_cause ON settlements': 'guard settlements_cause of the database is missing',
    f'CREATE OR REPLACE FUNCTION refuse_predictions_live() RETURNS trigger LANGUAGE plpgsql AS {BODY}': 'guard predictions_live of the database',
    'ALTER FUNCTION refuse_predictions_live() SET search_path = pg_temp, public': 'guard predictions_live of the database is disabled, or not as it should be',
    'ALTER FUNCTION refuse_predictions_live() RESET ALL': 'guard predictions_live of the database',
    'ALTER FUNCTION refuse_predictions_chain() STABLE': 'guard predictions_chain of the database',
    'CREATE OR REPLACE TRIGGER predictions_change BEFORE DELETE OR UPDATE OF run_id ON predictions '
    'FOR EACH ROW EXECUTE FUNCTION refuse_change()': 'guard predictions_change of the database',
    'CREATE OR REPLACE TRIGGER predictions_change BEFORE DELETE OR UPDATE ON predictions '
    'FOR EACH ROW WHEN (false) EXECUTE FUNCTION refuse_change()': 'guard predictions_change',
    'CREATE OR REPLACE TRIGGER predictions_change AFTER DELETE OR UPDATE ON predictions '
    'FOR EACH ROW EXECUTE FUNCTION refuse_change()': 'guard predictions_change of the database',
    'CREATE TRIGGER aaa AFTER INSERT ON predictions EXECUTE FUNCTION refuse_change()': 'trigger aaa of the ledger is none of its guards',
    'CREATE RULE aaa AS ON UPDATE TO settlements DO INSTEAD NOTHING': 'rule aaa on table settlements changes what is read or written',
    'ALTER TABLE ledger_entries ENABLE ROW LEVEL SECURITY': 'row security of table ledger_entries changes what is read or written',
}


@pytest.mark.parametrize('statement', CHANGED, ids=lambda statement: statement[:70])
def test_a_guard_that_its_owner_has_changed_is_told(postgresql, shared, statement):
    run_all(postgresql, statement)
    assert CHANGED[statement] in '\n'.join(verify_shared(postgresql, shared).problems)


def test_guards_that_another_schema_has_are_none(postgresql, shared):
    "The guards are moved to tables of the same names in another schema."
    run_all(
        postgresql,
        'CREATE SCHEMA aside',
        'CREATE TABLE aside.predictions (LIKE public.predictions)',
        'CREATE TRIGGER predictions_chain BEFORE INSERT ON aside.predictions FOR EACH ROW '
        'EXECUTE FUNCTION public.refuse_predictions_chain()',
        'DROP TRIGGER predictions_chain ON public.predictions',
    )
    assert 'guard predictions_chain of the database is missing' in (
        verify_shared(postgresql, shared).problems
    )


def test_rows_that_were_changed_as_a_replica_are_told(postgresql, shared):
    run_all(
        postgresql,
        'SET session_replication_role = replica',
        'UPDATE predictions SET p_home = p_away, p_away = p_home WHERE sequence = 3',
        'SET session_replication_role = DEFAULT',
    )
    assert re.search(
        r'entry 4 \(forecast .* was edited', '\n'.join(verify_shared(postgresql, shared).problems)
    )


# ---- payloads

LATE = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def reported(tmp_path, sqlite) -> Iterator[tuple[Path, Engine, tuple[Path, dict[str, Any]]]]:
    "Replays of ten matches of the bundled season, scored by what its payload tells."
    home = tmp_path / 'home'
    engine = open_database(f'sqlite:///{home}/football.db')
    source = create_source('bundled')
    folder = home / 'snapshots'
    with write_transaction(engine) as connection:
        load_reference_data(connection)
    collect_payloads(engine, folder, source, ['E0'], ['2526'], lambda: LATE)
    load_new_payloads(engine, folder, {'bundled': source})
    matches = read_matches(engine, LATE)
    forecasts = forecast_fixtures(Fixed(), matches.tail(10))
    as_of = matches['kickoff'].max() - timedelta(days=60)
    append(home, engine, forecasts, as_of=as_of)
    settle_forecasts(engine, heads_of(home), matches, LATE, 's')
    yield home, engine, (folder, {'bundled': source})
    engine.dispose()


def test_scores_follow_from_payloads(reported):
    home, engine, payloads = reported
    verification = verify_ledger(engine, heads_of(home), payloads=payloads)
    assert (verification.counts['replays'], verification.settlements) == (10, 10)
    assert verification.problems == []


def test_results_that_the_payload_does_not_tell_are_told(reported):
    "Settlements, matches, log and heads are rewritten alike."
    home, engine, payloads = reported

    def change(connection: Any) -> None:
        all_hits(connection)
        connection.exec_driver_sql(
            """UPDATE matches SET (home_goals, away_goals) = (SELECT s.home_goals, s.away_goals
            FROM settlements AS s JOIN predictions AS p USING (prediction_id)
            WHERE p.match_id = matches.match_id)
            WHERE match_id IN (SELECT match_id FROM predictions)"""
        )

    forge(home, change)
    assert verify_ledger(engine, heads_of(home)).problems == []
    found = verify_ledger(engine, heads_of(home), payloads=payloads).problems
    assert len(found) > 3
    assert all('that it names' in text for text in found)


def test_a_payload_that_was_edited_or_removed_is_told(reported):
    home, engine, payloads = reported
    (path,) = [path for path in payloads[0].rglob('*') if re.fullmatch('[0-9a-f]{64}', path.name)]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b',2,1', b',1,2'))
    for state in ('has changed on disk', 'No such file'):
        found = verify_ledger(engine, heads_of(home), payloads=payloads).problems
        assert len(found) == 1
        assert state in found[0]
        path.unlink(missing_ok=True)


# ---- clocks before there is a log


def test_a_clock_that_was_set_back_before_the_log_is_opened_stops_it(tmp_path, sqlite):
    "A home of the release before: its forecasts are sealed, and their log is not open yet."
    engine = open_ledger(tmp_path)
    append(tmp_path, engine, PREDICTED)
    with write_transaction(engine) as connection:
        for name in schema.sqlite_guards():
            connection.exec_driver_sql(f'DROP TRIGGER {name}')
        for table in (schema.ledger_entries, schema.ledger_heads):
            connection.execute(table.delete())
        schema.renew_guards(connection)
    heads_of(tmp_path).path.unlink()
    with pytest.raises(LedgerClockError, match='correct the clock'):
        settle_forecasts(
            engine, heads_of(tmp_path), MATCHES, END, 's', lambda _: NOW - timedelta(days=300)
        )
    assert verify(tmp_path).problems == []
    engine.dispose()
