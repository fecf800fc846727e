"Collecting and cleaning meet bad payloads, failing sources, moved fixtures and interruptions, and lose nothing."

import contextlib
import io
import json
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select

from football_pred.core import schema
from football_pred.core.as_of import read_matches
from football_pred.core.database import open_database, read_frame, upsert, write_transaction
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.competitions import SourceError
from football_pred.ingest.contract import (
    BaseSource,
    ParsedPayload,
    SourceRequest,
    to_parsed_payload,
)
from football_pred.ingest.load import LoadSummary, load_new_payloads, rebuild_tables
from football_pred.ingest.quality import season_quality
from football_pred.ingest.team_names import (
    UnknownNameError,
    find_league,
    find_team,
    load_reference_data,
)
from football_pred.ingest.validate import validate_matches

START = datetime(2026, 3, 1, tzinfo=UTC)
TWENTY = (
    'Arsenal',
    'Aston Villa',
    'Bournemouth',
    'Brentford',
    'Brighton',
    'Burnley',
    'Chelsea',
    'Crystal Palace',
    'Everton',
    'Fulham',
    'Leeds',
    'Liverpool',
    'Man City',
    'Man United',
    'Newcastle',
    "Nott'm Forest",
    'Sunderland',
    'Tottenham',
    'West Ham',
    'Wolves',
)


ROW = ('date', 'time', 'home_team', 'away_team', 'home_goals', 'away_goals', 'status')


class Pages(BaseSource):
    "A source whose payloads a test writes: a JSON list of rows behind each address, or an exception."

    name = 'pages'
    time_zone: str | None = None

    def __init__(self, **pages: bytes | Exception):
        self.pages, self.fetched = pages, []

    def plan(
        self, leagues: Sequence[str], seasons: Sequence[str], include_fixtures: bool = False
    ) -> list[SourceRequest]:
        return [
            SourceRequest(self.name, page, league, season)
            for league in leagues
            for season in seasons
            for page in self.pages
            if page[1:5] == season
        ]

    def fetch(self, request: SourceRequest) -> bytes:
        self.fetched.append(request.url)
        page = self.pages[request.url]
        if isinstance(page, Exception):
            raise page
        return page

    def parse(self, content: bytes, request: SourceRequest) -> ParsedPayload:
        return to_parsed_payload(
            pl.read_json(io.BytesIO(content), schema=dict.fromkeys(ROW, pl.String)), request
        )


class Clock:
    "A clock that goes on by one minute whenever somebody looks at it."

    def __init__(self):
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def row(**changes: str | None) -> dict[str, str | None]:
    "A raw row that can be trusted, but for the changes."
    return (
        dict(
            date='2026-04-04',
            time='15:00',
            home_team='Arsenal',
            away_team='Everton',
            home_goals='2',
            away_goals='0',
            status=None,
        )
        | changes
    )


def page(*rows: dict[str, str | None]) -> bytes:
    return json.dumps(rows).encode()


def season_of(teams: Sequence[str]) -> list[dict[str, str | None]]:
    "Every pair home and away."
    return [row(home_team=home, away_team=away) for home, away in permutations(teams, 2)]


def tables(engine: Engine) -> dict[str, list[tuple]]:
    "Every row of every table."
    with engine.connect() as connection:
        return {
            name: sorted(map(repr, connection.exec_driver_sql(f'SELECT * FROM {name}')))
            for name in schema.metadata.tables
        }


def read(engine: Engine, table: str, *columns: str) -> list[tuple]:
    return read_frame(
        engine,
        select(
            *[
                schema.metadata.tables[table].c[name]
                for name in columns or schema.metadata.tables[table].c.keys()
            ]
        ),
    ).rows()


def rejected(engine: Engine) -> list[tuple[int, str]]:
    return sorted(read(engine, 'rejects', 'row_number', 'reason'))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fetch(engine: Engine, home: Path, clock: Clock) -> Callable[..., pl.DataFrame]:
    def fetch(source: Pages, seasons: Sequence[str] = ('2526',), run_key: str = '') -> pl.DataFrame:
        return collect_payloads(
            engine, home / 'snapshots', source, ['E0'], seasons, clock, run_key=run_key
        )

    return fetch


@pytest.fixture
def tidy(engine: Engine, home: Path) -> Callable[..., LoadSummary]:
    def tidy(source: Pages, _seasons: Sequence[str] = ()) -> LoadSummary:
        return load_new_payloads(engine, home / 'snapshots', {source.name: source})

    return tidy


@pytest.fixture
def gather(fetch, tidy) -> Callable[..., LoadSummary]:
    def gather(source: Pages, seasons: Sequence[str] = ('2526',)) -> LoadSummary:
        fetch(source, seasons)
        return tidy(source, seasons)

    return gather


# ---- rows that cannot be trusted


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'home_goals': 'x'}, 'home_goals is not a score: x'),
        ({'away_goals': '-1'}, 'away_goals is not a score: -1'),
        ({'home_goals': '1.5'}, 'home_goals is not a score: 1.5'),
        ({'home_goals': '100'}, 'home_goals is not a score: 100'),
        ({'away_goals': '٢'}, 'away_goals is not a score: ٢'),
        ({'home_goals': ''}, 'one score is missing'),
        ({'away_goals': None}, 'one score is missing'),
        ({'away_team': 'Arsenal'}, 'Arsenal plays itself'),
        ({'away_team': 'Arsenl'}, 'unknown team: Arsenl'),
        ({'home_team': None}, 'unknown team: empty'),
        ({'date': '2026-02-30'}, 'date is not a date: 2026-02-30'),
        ({'date': '04/04/2026'}, 'date is not a date: 04/04/2026'),
        ({'date': ' '}, 'date is not a date: empty'),
        ({'time': '25:00'}, 'time is not a time: 25:00'),
        ({'time': 'noon'}, 'time is not a time: noon'),
    ],
    ids=str,
)
def test_a_bad_row_is_kept_aside_with_its_reason(engine, gather, changes, reason):
    bad, good = row(**changes), row(home_team='Leeds', away_team='Fulham')
    done = gather(Pages(_2526=page(bad, good)))
    assert (done.row_count, done.match_count, done.reject_counts.rows()) == (
        2,
        1,
        [('E0', '2526', 'row', reason, 1)],
    )
    with engine.connect() as connection:
        [kept] = connection.execute(select(schema.rejects)).all()
    told = {name: value.strip() for name, value in bad.items() if value and value.strip()}
    assert (kept.row_number, kept.reason, kept.row) == (
        1,
        reason,
        told | {'league': 'E0', 'season': '2526'},
    )
    assert read(engine, 'matches', 'home_team') == [('Leeds',)]


def test_the_first_reason_of_several_is_kept(engine, gather):
    gather(Pages(_2526=page(row(date='?', away_team='Arsenal', home_goals='x'))))
    assert rejected(engine) == [(1, 'date is not a date: ?')]


@pytest.mark.parametrize(
    'changes',
    [{'home_team': ' Arsenal '}, {'home_goals': ' 2'}, {'home_goals': '02'}, {'time': '15:00 '}],
    ids=str,
)
def test_blanks_and_leading_zeros_do_not_matter(engine, gather, changes):
    gather(Pages(_2526=page(row(**changes))))
    assert (read(engine, 'matches', 'match_id', 'home_goals'), rejected(engine)) == (
        [('E0-2526-arsenal-everton', 2)],
        [],
    )


@pytest.mark.parametrize(
    ('name', 'nearest'),
    [('Arsenl', 'Arsenal'), ('Man Untied', 'Man United'), ('Forest', "Nott'm Forest")],
)
def test_an_unknown_team_is_answered_with_the_nearest(engine, name, nearest):
    with write_transaction(engine) as connection:
        load_reference_data(connection)
    with pytest.raises(
        UnknownNameError, match=f'unknown team {name!r} in league E0; did you mean .*{nearest}'
    ):
        find_team(engine, name, 'E0')


def test_an_unknown_league_is_named(engine):
    with write_transaction(engine) as connection:
        load_reference_data(connection)
    with pytest.raises(UnknownNameError, match="unknown league 'E9'; did you mean E"):
        find_league(engine, 'E9')


@pytest.mark.parametrize('status', ['postponed', 'awarded', 'abandoned', 'cancelled'])
def test_what_the_source_says_about_a_match_is_kept(engine, gather, status):
    goals = '3' if status == 'awarded' else None
    gather(Pages(_2526=page(row(status=status, home_goals=goals, away_goals=goals and '0'))))
    assert read(engine, 'matches', 'status') == [(status,)]


# ---- rows that stand twice


def test_the_same_match_said_twice_is_one_match(engine, gather):
    done = gather(Pages(_2526=page(row(), row(home_goals='02'), row(home_team=' Arsenal'))))
    assert (done.row_count, done.match_count, rejected(engine)) == (3, 1, [])


@pytest.mark.parametrize(
    'changes',
    [
        {'home_goals': '3'},
        {'date': '2026-04-05'},
        {'time': '17:30'},
        {'home_goals': None, 'away_goals': None},
    ],
    ids=str,
)
def test_of_contradicting_rows_the_first_is_kept_and_the_other_named(engine, gather, changes):
    done = gather(Pages(_2526=page(row(home_team='Leeds'), row(), row(**changes))))
    assert (done.match_count, rejected(engine)) == (2, [(3, 'same match as row 2, other facts')])
    first = ('E0-2526-arsenal-everton', datetime(2026, 4, 4, 14, tzinfo=UTC), 2, 0)
    assert first in read(engine, 'matches', 'match_id', 'kickoff', 'home_goals', 'away_goals')


def test_a_bad_row_does_not_shadow_a_good_one(engine, gather):
    gather(Pages(_2526=page(row(home_goals='x'), row())))
    assert (rejected(engine), read(engine, 'matches', 'home_goals')) == (
        [(1, 'home_goals is not a score: x')],
        [(2,)],
    )


# ---- payloads


def test_a_season_with_a_match_missing_shows_it(engine, gather):
    done = gather(Pages(_2526=page(*season_of(TWENTY)[:-1])))
    quality = season_quality(read_matches(engine, START + timedelta(days=99))).select(
        'teams', 'matches', 'expected', 'finished'
    )
    assert (done.match_count, quality.rows()) == (379, [(20, 379, 380, 379)])


@pytest.mark.parametrize(
    'content', [page(), page(row(home_goals='x'))], ids=['no rows', 'no good row']
)
def test_a_payload_without_a_match_changes_no_match(engine, gather, content):
    gather(Pages(_2526=page(row())))
    before = read(engine, 'matches')
    done = gather(Pages(_2526=content))
    assert (done.match_count, done.new_match_count, read(engine, 'matches')) == (0, 0, before)


@pytest.mark.parametrize(
    'content',
    [b'', b'<html>502 Bad Gateway</html>', b'\xff\xfe\x00'],
    ids=['empty', 'a web page', 'bytes'],
)
def test_a_payload_that_cannot_be_read_is_a_failed_fetch_and_stops_nothing(
    engine, fetch, tidy, content
):
    source = Pages(_2425=content, _2526=page(row()))
    fetched = fetch(source, ['2425', '2526'])
    assert fetched.select('url', 'status').rows() == [('_2425', 'failed'), ('_2526', 'new')]
    assert read(engine, 'data_collection_logs', 'url', 'status', 'errors') == [
        ('_2425', 'failed', 1),
        ('_2526', 'success', 0),
    ]
    assert tidy(source, ['2425', '2526']).match_count == 1


def test_a_payload_that_changed_on_disk_is_refused_and_nothing_is_written(
    engine, home, gather, fetch, tidy
):
    source = Pages(_2526=page(row(home_goals='1')))
    gather(source)
    source.pages['_2526'] = page(row(home_goals='4'))
    fetch(source)
    before = tables(engine)
    path = read(engine, 'snapshots', 'path')[-1][0]
    (home / 'snapshots' / path).write_bytes(page(row(home_goals='9')))
    with pytest.raises(ValueError, match=f'{path} has changed on disk'):
        tidy(source)
    with pytest.raises(ValueError, match=f'{path} has changed on disk'):
        rebuild_tables(engine, home / 'snapshots', {source.name: source})
    assert tables(engine) == before


def test_replay_compares_in_parts_and_finds_every_difference(engine, home, gather, monkeypatch):
    "One row changed, one missing and one too many, in a part each; nothing is left of the second database."
    monkeypatch.setattr('football_pred.ingest.reconcile._CHUNK_SIZE', 7)
    source = Pages(_2526=page(*season_of(TWENTY), row(home_goals='x')))
    gather(source)
    source.pages['_2526'] = page(*season_of(TWENTY), row(home_goals='y'))
    gather(source)

    def replay(**options):
        return {
            row[0]: row[2:]
            for row in rebuild_tables(engine, home / 'snapshots', {source.name: source}, **options)[
                1
            ].rows()
        }

    before = tables(engine)
    assert set(replay(apply=False).values()) == {(0, 0, 0)}
    with write_transaction(engine) as connection:
        known = sorted(read_frame(connection, select(schema.matches.c.match_id))['match_id'])
        connection.exec_driver_sql(
            f"UPDATE matches SET home_goals = home_goals + 1 WHERE match_id = '{known[200]}'"
        )
        connection.exec_driver_sql(
            f"DELETE FROM matches WHERE match_id IN ('{known[0]}', '{known[-1]}')"
        )
        extra = read_frame(
            connection, select(schema.matches).where(schema.matches.c.match_id == known[100])
        )
        upsert(connection, schema.matches, extra.with_columns(match_id=pl.lit('zzz')))
        connection.exec_driver_sql("UPDATE rejects SET reason = 'another'")
    touched = tables(engine)
    found = {name: counts for name, counts in replay(apply=False).items() if any(counts)}
    assert found == {'matches': (2, 1, 1), 'rejects': (2, 0, 2)}
    assert tables(engine) == touched
    replay()
    assert tables(engine) == before
    assert [path.name for path in home.iterdir() if path.name.startswith('replay-')] == []


def forget_reference(engine: Engine) -> None:
    "Leave tables that were loaded with other reference data, and wrong in places."
    with write_transaction(engine) as connection:
        connection.exec_driver_sql("UPDATE snapshots SET cleaned_with = 'an earlier one'")
        connection.exec_driver_sql("UPDATE matches SET status = 'postponed' WHERE rowid % 5 = 0")
        connection.exec_driver_sql('DELETE FROM matches WHERE rowid % 7 = 0')


@pytest.mark.parametrize('transaction', range(1, 30, 4))
def test_a_rebuild_that_is_stopped_anywhere_begins_again(
    engine, gather, tidy, monkeypatch, transaction
):
    source = Pages(_2526=page(*season_of(TWENTY)[:190]))
    gather(source)
    source.pages['_2526'] = page(*season_of(TWENTY))
    gather(source)
    before = tables(engine)
    forget_reference(engine)
    monkeypatch.setattr('football_pred.ingest.reconcile._CHUNK_SIZE', 40)
    begun = []

    def stop(connection) -> None:
        begun.append(connection)
        if len(begun) == transaction:
            raise KeyboardInterrupt

    event.listen(engine, 'commit', stop)
    try:
        tidy(source)
    except KeyboardInterrupt:
        pass
    finally:
        event.remove(engine, 'commit', stop)
    assert tables(engine) != before or len(begun) < transaction
    assert tidy(source).rebuilt or len(begun) < transaction
    assert tables(engine) == before


def test_others_write_while_tables_are_rebuilt(engine, gather, tidy, monkeypatch):
    "The write lock is free between the parts: signs of life of a run are written meanwhile."
    source = Pages(_2526=page(*season_of(TWENTY)))
    gather(source)
    forget_reference(engine)
    monkeypatch.setattr('football_pred.ingest.reconcile._CHUNK_SIZE', 40)
    others = []

    def write_at_once() -> None:
        with contextlib.closing(sqlite3.connect(engine.url.database, timeout=0)) as connection:
            connection.execute(
                "INSERT INTO audit_log (at, actor, action, subject, detail) "
                "VALUES ('2026-01-01', 'another', 'write', 'x', '{}')"
            )
            connection.commit()
        others.append(True)

    def transaction(*arguments: object):
        write_at_once()
        return write_transaction(*arguments)

    monkeypatch.setattr('football_pred.ingest.reconcile.write_transaction', transaction)
    assert tidy(source).rebuilt
    assert len(others) > 10


def test_a_payload_that_changed_on_disk_is_restored_by_collecting_it_again(
    engine, home, gather, fetch, tidy
):
    source = Pages(_2526=page(row()))
    fetch(source)
    [(path,)] = read(engine, 'snapshots', 'path')
    (home / 'snapshots' / path).write_bytes(b'something else')
    assert gather(source).match_count == 1


# ---- a source over time


@pytest.mark.parametrize(
    'error',
    [
        SourceError('not published yet'),
        ConnectionResetError('connection reset'),
        TimeoutError('timed out'),
    ],
    ids=repr,
)
def test_a_fetch_that_fails_is_named_and_the_next_run_makes_up_for_it(engine, fetch, tidy, error):
    source, seasons = (
        Pages(_2324=page(row(date='2024-04-06')), _2425=error, _2526=page(row())),
        ['2324', '2425', '2526'],
    )
    fetched = fetch(source, seasons, run_key='monday')
    assert fetched.select('season', 'status', 'error').rows() == [
        ('2324', 'new', None),
        ('2425', 'failed', str(error)),
        ('2526', 'new', None),
    ]
    logged = {
        url: log
        for url, *log in read(
            engine, 'data_collection_logs', 'url', 'status', 'records', 'error_type', 'error'
        )
    }
    well = ['success', 1, None, None]
    assert logged == {
        '_2324': well,
        '_2425': ['failed', 0, type(error).__name__, str(error)],
        '_2526': well,
    }
    assert tidy(source, seasons).match_count == 2
    source.pages['_2425'], source.fetched = page(row(date='2025-04-05')), []
    assert fetch(source, seasons, run_key='monday')['status'].to_list() == [
        'done before',
        'new',
        'done before',
    ]
    assert (source.fetched, tidy(source, seasons).match_count, len(read(engine, 'matches'))) == (
        ['_2425'],
        1,
        3,
    )


def test_a_page_that_changes_and_changes_back_leaves_three_snapshots(engine, gather):
    for goals in '2', '3', '2', '2':
        gather(Pages(_2526=page(row(home_goals=goals))))
    history = read_frame(engine, select(schema.snapshots).order_by(schema.snapshots.c.fetched_at))
    first, second, third = history['sha256']
    assert (
        first == third != second,
        history['snapshot_id'].n_unique(),
        history['path'].n_unique(),
    ) == (True, 3, 2)
    assert read(engine, 'matches', 'home_goals', 'snapshot_id') == [(2, history['snapshot_id'][-1])]


def test_a_fixture_that_moves_keeps_its_id_and_leaves_one_change_for_each_move(
    engine, gather, tidy
):
    def says(**changes: str) -> Pages:
        return Pages(_2526=page(row(home_goals=None, away_goals=None, **changes)))

    gather(says())
    assert gather(says(date='2026-05-19', time='20:00')).change_count == 1
    assert tidy(says()).change_count == 0
    assert gather(says(date='2026-05-20', time='20:00')).change_count == 1
    assert gather(says()).change_count == 1
    assert read(engine, 'matches', 'match_id', 'kickoff') == [
        ('E0-2526-arsenal-everton', datetime(2026, 4, 4, 14, tzinfo=UTC))
    ]
    changes = read_frame(
        engine, select(schema.fixture_changes).order_by(schema.fixture_changes.c.changed_at)
    )
    moments = [
        '2026-04-04 14:00:00+00:00',
        '2026-05-19 19:00:00+00:00',
        '2026-05-20 19:00:00+00:00',
        '2026-04-04 14:00:00+00:00',
    ]
    assert changes.select('field', 'before', 'after').rows() == [
        ('kickoff', *both) for both in pairwise(moments)
    ]
    assert changes['match_id'].unique().to_list() == ['E0-2526-arsenal-everton']


def test_a_fixture_gets_its_result(engine, gather):
    gather(Pages(_2526=page(row(home_goals=None, away_goals=None))))
    assert read(engine, 'matches', 'status', 'home_goals', 'result_known_at') == [
        ('scheduled', None, None)
    ]
    done = gather(Pages(_2526=page(row())))
    assert (done.new_match_count, done.change_count) == (0, 1)
    assert read(engine, 'fixture_changes', 'field', 'before', 'after') == [
        ('status', 'scheduled', 'finished')
    ]
    known_at = datetime(2026, 4, 4, 16, 30, tzinfo=UTC)
    assert read(engine, 'matches', 'status', 'home_goals', 'away_goals', 'result_known_at') == [
        ('finished', 2, 0, known_at)
    ]


def test_what_is_new_is_told_once_in_the_transaction_that_writes_it(
    engine, home, fetch, monkeypatch
):
    def told() -> list[tuple[str, str | None]]:
        with engine.connect() as connection:
            found = connection.execute(
                select(schema.events).order_by(schema.events.c.sequence)
            ).all()
        assert {(one.key, one.payload['match_id'], one.payload['version']) for one in found} <= {
            ('E0-2526-arsenal-everton',) * 2 + (1,)
        }
        return [(one.topic, one.payload.get('kickoff', '')[5:10]) for one in found]

    def take_in(**changes: str | None) -> None:
        source = Pages(_2526=page(row(**changes)))
        fetch(source)
        load_new_payloads(engine, home / 'snapshots', {source.name: source}, event_time=START)

    to_come = dict(home_goals=None, away_goals=None)
    take_in(**to_come)
    take_in(**to_come, time='15:00 ')
    assert told() == [('matches', '04-04')]
    take_in(**to_come, date='2026-05-19')
    take_in(date='2026-05-19')
    assert told()[1:] == [('matches', '05-19'), ('matches', '05-19'), ('results', '05-19')]

    def fails(*_: object) -> None:
        raise RuntimeError('pulled out')

    with monkeypatch.context() as patched:
        patched.setattr('football_pred.ingest.load.PayloadChanges', fails)
        with pytest.raises(RuntimeError, match='pulled out'):
            take_in(date='2026-05-19', home_goals='3')
    assert (len(told()), read(engine, 'matches', 'home_goals')) == (4, [(2,)])
    load_new_payloads(engine, home / 'snapshots', {'pages': Pages()}, event_time=START)
    assert (told()[4:], read(engine, 'matches', 'home_goals')) == (
        [('matches', '05-19'), ('results', '05-19')],
        [(3,)],
    )
    rebuild_tables(engine, home / 'snapshots', {'pages': Pages()})
    assert len(told()) == 6


def test_two_addresses_that_disagree_about_a_match_change_it_once(engine, gather, tidy):
    source = Pages(_2526_played=page(row()), _2526_coming=page(row(date='2026-04-05')))
    gather(source)
    before = tables(engine)
    assert (tidy(source).change_count, tables(engine)) == (0, before)


def test_a_row_put_aside_for_its_name_becomes_a_match_when_somebody_adds_the_name(
    engine, gather, tidy
):
    source = Pages(_2526=page(row(home_team='The Gunners')))
    gather(source)
    assert (read(engine, 'matches'), rejected(engine)) == ([], [(1, 'unknown team: The Gunners')])
    with write_transaction(engine) as connection:
        upsert(
            connection,
            schema.team_aliases,
            [dict(source=source.name, league='E0', alias='The Gunners', team='Arsenal')],
        )
    tidy(source)
    assert (read(engine, 'matches', 'home_team'), rejected(engine)) == ([('Arsenal',)], [])


# ---- whole or not at all, once or often


def test_cleaning_twice_changes_no_row(engine, gather, tidy):
    gather(
        Pages(
            _2425=page(row(date='2025-04-05')), _2526=page(row(home_goals=None, away_goals=None))
        ),
        ['2425', '2526'],
    )
    source = Pages(
        _2425=page(row(date='2025-04-05'), row(date='2025-04-05', home_goals='4')),
        _2526=page(row(date='2026-05-01'), row(home_goals='x'), row(home_team='Leeds', time=None)),
    )
    assert gather(source, ['2425', '2526']).change_count == 2
    before = tables(engine)
    assert (
        min(
            len(before[name])
            for name in ('matches', 'rejects', 'fixture_changes', 'snapshots', 'teams')
        )
        > 0
    )
    again = tidy(source, ['2425', '2526'])
    assert (again.new_match_count, again.change_count, tables(engine)) == (0, 0, before)


def test_cleaning_that_is_cut_short_takes_in_whole_payloads_and_the_next_run_the_rest(
    engine, gather, fetch, tidy, monkeypatch
):
    gather(
        Pages(
            _2425=page(row(date='2025-04-05')), _2526=page(row(home_goals=None, away_goals=None))
        ),
        ['2425', '2526'],
    )
    source = Pages(
        _2425=page(row(date='2025-04-05', home_goals='5'), row(date='2025-04-05', home_goals='x')),
        _2526=page(row()),
    )
    fetch(source, ['2425', '2526'])
    read_so_far = []

    def parse_once(self: Pages, content: bytes, request: SourceRequest) -> ParsedPayload:
        if read_so_far:
            raise KeyboardInterrupt
        read_so_far.append(content)
        return parse(self, content, request)

    parse = Pages.parse
    with monkeypatch.context() as patch:
        patch.setattr(Pages, 'parse', parse_once)
        with pytest.raises(KeyboardInterrupt):
            tidy(source)
    assert sorted(read(engine, 'matches', 'season', 'status', 'home_goals')) == [
        ('2425', 'finished', 5),
        ('2526', 'scheduled', None),
    ]
    done = tidy(source)
    assert (done.payload_count, done.change_count, rejected(engine)) == (
        1,
        1,
        [(2, 'home_goals is not a score: x')],
    )
    assert sorted(read(engine, 'matches', 'season', 'status', 'home_goals')) == [
        ('2425', 'finished', 5),
        ('2526', 'finished', 2),
    ]


# ---- time


def clean_row(
    raw: dict[str, str | None], source_zone: str | None, league_zone: str
) -> tuple[list[dict], list[str]]:
    "Matches and reasons that become of one row."
    frame = to_parsed_payload(
        pl.DataFrame([raw], schema=dict.fromkeys(ROW, pl.String)),
        SourceRequest('pages', '', 'E0', '2526'),
    ).matches
    league = dict(league='E0', time_zone=league_zone, home_meetings=1)
    matches, rejects = validate_matches(
        frame, league, '2526', source_zone, {team: team for team in TWENTY}
    )
    return matches.to_dicts(), rejects['reason'].to_list()


@pytest.mark.parametrize(
    ('source_zone', 'league_zone', 'day', 'clock', 'kickoff', 'at_the_ground'),
    [
        (
            'Europe/London',
            'Europe/London',
            '2026-03-28',
            '15:00',
            '2026-03-28T15:00Z',
            '2026-03-28',
        ),
        (
            'Europe/London',
            'Europe/London',
            '2026-03-29',
            '14:00',
            '2026-03-29T13:00Z',
            '2026-03-29',
        ),
        (
            'Europe/London',
            'Europe/London',
            '2025-10-25',
            '15:00',
            '2025-10-25T14:00Z',
            '2025-10-25',
        ),
        (
            'Europe/London',
            'Europe/London',
            '2025-10-26',
            '14:00',
            '2025-10-26T14:00Z',
            '2025-10-26',
        ),
        (None, 'Europe/Madrid', '2026-03-28', '21:00', '2026-03-28T20:00Z', '2026-03-28'),
        (None, 'Europe/Madrid', '2026-03-29', '21:00', '2026-03-29T19:00Z', '2026-03-29'),
        (None, 'Europe/Madrid', '2025-10-25', '21:00', '2025-10-25T19:00Z', '2025-10-25'),
        (None, 'Europe/Madrid', '2025-10-26', '21:00', '2025-10-26T20:00Z', '2025-10-26'),
        (
            'Europe/London',
            'Europe/Madrid',
            '2026-03-29',
            '20:00',
            '2026-03-29T19:00Z',
            '2026-03-29',
        ),
        ('UTC', 'Europe/Madrid', '2026-03-29', '22:00', '2026-03-29T22:00Z', '2026-03-30'),
        ('UTC', 'America/Los_Angeles', '2026-03-29', '02:30', '2026-03-29T02:30Z', '2026-03-28'),
    ],
)
def test_kickoffs_are_right_on_both_sides_of_both_switches(
    source_zone, league_zone, day, clock, kickoff, at_the_ground
):
    [match], reasons = clean_row(row(date=day, time=clock), source_zone, league_zone)
    moment = datetime.fromisoformat(kickoff)
    assert (match['kickoff'], match['kickoff_known'], match['date'].isoformat(), reasons) == (
        moment,
        True,
        at_the_ground,
        [],
    )
    assert match['result_known_at'] == moment + timedelta(minutes=150)


@pytest.mark.parametrize(
    ('zone', 'first_moment', 'last_moment', 'day'),
    [
        ('Europe/London', '2026-04-03T23:00Z', '2026-04-04T23:00Z', '2026-04-04'),
        ('Europe/London', '2026-01-03T00:00Z', '2026-01-04T00:00Z', '2026-01-03'),
        ('Europe/London', '2026-03-29T00:00Z', '2026-03-29T23:00Z', '2026-03-29'),
        ('Europe/Madrid', '2025-10-25T22:00Z', '2025-10-26T23:00Z', '2025-10-26'),
    ],
)
def test_a_match_with_only_a_date_begins_and_is_known_at_the_ends_of_that_day_at_the_ground(
    zone, first_moment, last_moment, day
):
    [match], reasons = clean_row(row(date=day, time=None), 'UTC', zone)
    assert (match['kickoff'], match['kickoff_known'], match['date'].isoformat(), reasons) == (
        datetime.fromisoformat(first_moment),
        False,
        day,
        [],
    )
    assert match['result_known_at'] == datetime.fromisoformat(last_moment)


def test_the_result_of_a_match_with_only_a_date_is_not_seen_before_the_day_is_over(engine, gather):
    gather(Pages(_2526=page(row(time=''))))
    over = datetime(2026, 4, 4, 23, tzinfo=UTC)
    assert [
        read_matches(engine, moment)['status'][0] for moment in (over - timedelta(minutes=1), over)
    ] == ['scheduled', 'finished']


@pytest.mark.parametrize(
    ('zone', 'kickoff'),
    [('Europe/London', '2025-10-26T00:30Z'), ('Europe/Madrid', '2025-10-26T00:30Z')],
)
def test_a_kickoff_at_a_time_that_comes_twice_is_the_earlier(zone, kickoff):
    [match], reasons = clean_row(
        row(date='2025-10-26', time='01:30' if zone == 'Europe/London' else '02:30'), None, zone
    )
    assert (match['kickoff'], match['kickoff_known'], reasons) == (
        datetime.fromisoformat(kickoff),
        True,
        [],
    )


@pytest.mark.parametrize(
    ('zone', 'clock'), [('Europe/London', '01:30'), ('Europe/Madrid', '02:30')]
)
def test_a_kickoff_at_a_time_that_does_not_exist_is_never_called_known(zone, clock):
    matches, reasons = clean_row(row(date='2026-03-29', time=clock), None, zone)
    only_date, _ = clean_row(row(date='2026-03-29', time=None), None, zone)
    assert (matches, len(reasons)) in [([], 1), (only_date, 0)]


@pytest.mark.parametrize(
    ('day', 'time', 'kickoff', 'known_at'),
    [
        ('2025-09-06', '18:00', '2025-09-06T22:00Z', '2025-09-07T00:30Z'),
        ('2025-09-06', None, '2025-09-06T04:00Z', '2025-09-07T04:00Z'),
        ('2025-09-07', '18:00', '2025-09-07T21:00Z', '2025-09-07T23:30Z'),
        ('2025-09-07', None, '2025-09-07T04:00Z', '2025-09-08T03:00Z'),
    ],
)
def test_a_day_without_a_midnight_is_a_day_like_any_other(day, time, kickoff, known_at):
    "In Chile the clocks went from 23:59 on 6 September 2025 to 1:00 on the 7th."
    [match], reasons = clean_row(row(date=day, time=time), None, 'America/Santiago')
    assert (match['date'].isoformat(), match['kickoff_known'], reasons) == (
        day,
        time is not None,
        [],
    )
    assert (match['kickoff'], match['result_known_at']) == (
        datetime.fromisoformat(kickoff),
        datetime.fromisoformat(known_at),
    )


# ---- anything at all


def sometimes(*values: str | None) -> st.SearchStrategy[str | None]:
    return st.sampled_from(values) | st.none() | st.text(max_size=6)


anything = st.fixed_dictionaries(
    dict(
        date=sometimes(
            '2026-04-04', '2026-03-29', '2025-10-26', '2026-4-4', '2026-02-30', '04/04/26', ''
        ),
        time=sometimes('15:00', '01:30', '1:30', '00:00', '24:00', ''),
        home_team=sometimes('Arsenal', 'Everton', ' Leeds', 'leeds'),
        away_team=sometimes('Arsenal', 'Everton', ' Leeds', 'Nobody'),
        home_goals=sometimes('0', '2', '02', '-1', '100', 'x', ''),
        away_goals=sometimes('0', '1', '٣', '1.0', ''),
        status=st.none(),
    )
)
pairs, scores = (
    st.sampled_from(list(permutations(TWENTY[:3], 2))),
    st.sampled_from([('1', '0'), ('01', '0 '), ('2', '2'), (None, '')]),
)
rows_that_pass = st.builds(
    lambda teams, goals, time: row(
        home_team=teams[0], away_team=teams[1], home_goals=goals[0], away_goals=goals[1], time=time
    ),
    pairs,
    scores,
    st.sampled_from(['15:00', '15:00 ', None]),
)


def facts(raw: dict[str, str | None]) -> tuple:
    "What a good row says, however it is spelled."

    def text(name: str) -> str | None:
        return (raw[name] or '').strip() or None

    return (
        text('date'),
        text('time'),
        *[goals and int(goals) for goals in (text('home_goals'), text('away_goals'))],
    )


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(anything | rows_that_pass, max_size=12))
@example(rows=[row(date='9999-12-31', time=None)])
@example(rows=[row(date='0000-01-01', time=None)])
@example(rows=[row(date='10000-01-01')])
@example(rows=[row(home_goals='٢', away_goals='٢')])
@example(rows=[row(), row(home_goals='02'), row(home_goals='3')])
def test_every_row_becomes_a_match_or_a_reject_or_says_what_another_said(rows):
    engine = open_database('sqlite://')
    source = Pages(_2526=page(*rows))
    with tempfile.TemporaryDirectory() as folder:
        collect_payloads(engine, Path(folder), source, ['E0'], ['2526'], Clock())
        done = load_new_payloads(engine, Path(folder), {source.name: source})
    put_aside = {number for number, _ in rejected(engine)}
    told = {}
    for raw in (raw for number, raw in enumerate(rows, 1) if number not in put_aside):
        told.setdefault((raw['home_team'].strip(), raw['away_team'].strip()), []).append(facts(raw))
    assert all(len(set(said)) == 1 for said in told.values())
    repeated = sum(len(said) - 1 for said in told.values())
    assert (
        len(rows)
        == done.row_count
        == done.match_count + done.reject_counts['rows'].sum() + repeated
    )
    held = {
        (home, away): scores
        for home, away, *scores in read(
            engine, 'matches', 'home_team', 'away_team', 'home_goals', 'away_goals'
        )
    }
    assert held == {pair: list(said[0][2:]) for pair, said in told.items()}
    engine.dispose()
