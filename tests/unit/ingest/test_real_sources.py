"All real files of the shared data, collected over HTTP from a server that stands in for their hosts."

from datetime import UTC, datetime

import polars as pl
import pytest
from sqlalchemy import select

from football_pred.core import schema
from football_pred.core.database import count_rows, open_database, read_frame, write_transaction
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.load import REBUILT_TABLES, load_new_payloads, rebuild_tables
from football_pred.ingest.open_sources import TwoTierArchive
from football_pred.ingest.reconcile import read_table_rows
from football_pred.ingest.sources import SOURCES, create_source
from tests.support.pages import FAST, Host

LEAGUES = ['E0', 'E1', 'D1', 'D2', 'SP1', 'SP2', 'I1', 'I2', 'F1', 'F2']
SEASONS = ['2021', '2122', '2223', '2324', '2425']
AT = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def host(shared_data):
    with Host() as host:
        for path in (shared_data / 'football_data_uk').glob('*_*.csv'):
            league, season = path.stem.split('_')
            host.pages[f'/uk/mmz4281/{season}/{league}.csv'] = path
        for path in (shared_data / 'openfootball').glob('*/*.json'):
            host.pages[f'/open/{path.parent.name}/{path.name}'] = path
        host.pages['/int/results.csv'] = shared_data / 'internationals/results.csv.gz'
        yield host


@pytest.fixture
def gather(engine, home):
    def gather(name, url, leagues, seasons):
        source = create_source(name, base_url=url)
        fetched = collect_payloads(
            engine, home / 'snapshots', source, leagues, seasons, lambda: AT, limits=FAST
        )
        return fetched, load_new_payloads(
            engine, home / 'snapshots', {name: create_source(name) for name in SOURCES}
        )

    return gather


def count_rejects(summary):
    "Rejects by kind and by the beginning of the reason."
    kinds = summary.reject_counts.group_by('kind', pl.col('reason').str.extract('^([^:]+)')).agg(
        pl.sum('rows')
    )
    return {(kind, reason): rows for kind, reason, rows in kinds.iter_rows()}


def test_ten_leagues_and_five_seasons_of_football_data(engine, host, gather):
    fetched, summary = gather('football_data_uk', f'{host.url}/uk', LEAGUES, SEASONS)
    assert fetched['status'].to_list() == ['new'] * 50
    assert (
        summary.match_count,
        summary.new_match_count,
        summary.price_count,
        count_rows(engine)['odds'],
    ) == (
        19_307,
        19_307,
        1_562_282,
        1_562_282,
    )
    assert count_rejects(summary) == {
        ('price', 'price is not above 1'): 17,
        ('price', 'line is not a number'): 10,
        ('price', 'prices leave no margin'): 3,
    }
    before = count_rows(engine)
    again, summary = gather('football_data_uk', f'{host.url}/uk', LEAGUES, SEASONS)
    assert (again['status'].to_list(), host.answers) == (['unchanged'] * 50, {200: 50, 304: 50})
    assert (summary.new_match_count, summary.change_count) == (0, 0)
    assert count_rows(engine) == before | {'data_collection_logs': 100}


def test_two_sources_report_the_same_matches(engine, host, gather):
    "The five big leagues of 2023/24 and 2024/25: one row per match, whatever the source."
    leagues, seasons = ['E0', 'D1', 'SP1', 'I1', 'F1'], ['2324', '2425']
    _, first = gather('football_data_uk', f'{host.url}/uk', leagues, seasons)
    stored = (
        read_frame(engine, select(schema.matches)).drop('source', 'snapshot_id').sort('match_id')
    )
    _, second = gather('openfootball', f'{host.url}/open', leagues, seasons)
    assert (first.match_count, second.match_count, second.new_match_count, second.change_count) == (
        3_504,
        3_504,
        0,
        0,
    )
    assert count_rejects(second) == {('contradiction', 'contradicts football_data_uk'): 10}
    assert (
        second.reject_counts.filter(
            ~pl.col('reason').str.contains(
                r'contradicts football_data_uk: kickoff [-\d: ]+, not [-\d: ]+$'
            )
        ).rows()
        == []
    )
    assert (
        read_frame(engine, select(schema.matches))
        .drop('source', 'snapshot_id')
        .sort('match_id')
        .equals(stored)
    )


def test_a_current_season_has_fixtures(engine, host, gather):
    _, summary = gather('openfootball', f'{host.url}/open', ['E0'], ['2526'])
    status = read_frame(engine, select(schema.matches.c.status))['status'].value_counts()
    assert (summary.match_count, dict(status.iter_rows())) == (
        380,
        {'finished': 291, 'scheduled': 88, 'postponed': 1},
    )


def test_national_teams_and_neutral_grounds(engine, host, gather):
    fetched, summary = gather('internationals', f'{host.url}/int', ['INT'], ['2022', '2024'])
    assert (
        fetched['status'].unique().to_list(),
        summary.reject_counts.filter(pl.col('reason').str.starts_with('unknown team')).rows(),
    ) == (['new'], [])
    neutral = read_frame(engine, select(schema.matches.c.neutral))['neutral']
    assert (neutral.sum(), len(neutral)) == (13_156, 49_519)
    table = schema.matches
    final = read_frame(engine, select(table).where(table.c.match_id == 'INT-2022-argentina-france'))
    assert final.select('home_goals', 'away_goals', 'neutral', 'status').rows() == [
        (3, 3, True, 'finished')
    ]


def test_a_missing_season_is_reported_and_stops_nothing(host, gather):
    fetched, summary = gather('football_data_uk', f'{host.url}/uk', ['E0'], ['1920', '2425'])
    assert fetched.select('season', 'status').rows() == [('1920', 'failed'), ('2425', 'new')]
    assert '404' in fetched['error'][0]
    assert summary.match_count == 380


def test_history_and_season_files_agree_on_every_match(engine, host, gather, home, shared_data):
    _, first = gather('football_data_uk', f'{host.url}/uk', ['E0', 'I1', 'F2'], SEASONS)
    collect_payloads(
        engine, home / 'snapshots', TwoTierArchive(str(shared_data)), LEAGUES, SEASONS, lambda: AT
    )
    summary = load_new_payloads(
        engine, home / 'snapshots', {name: create_source(name) for name in SOURCES}
    )
    assert (
        summary.match_count,
        summary.new_match_count,
        summary.change_count,
        summary.reject_counts.rows(),
    ) == (
        121_104,
        121_104 - first.match_count,
        0,
        [],
    )


def test_replay_is_equal_row_for_row(engine, host, gather, home):
    leagues, sources = ['E0', 'F1'], {name: create_source(name) for name in SOURCES}
    for name, path, seasons in (
        ('openfootball', 'open', ['2324', '2526']),
        ('football_data_uk', 'uk', ['2324', '2425']),
        ('openfootball', 'open', ['2425']),
    ):
        gather(name, f'{host.url}/{path}', leagues, seasons)
    counted = count_rows(engine)
    _, tables = rebuild_tables(engine, home / 'snapshots', sources, apply=False)
    assert tables.select('added', 'changed', 'removed').sum().row(0) == (0, 0, 0)
    assert dict(tables.select('table', 'rows').iter_rows()) == {
        name: counted[name] for name in tables['table']
    }
    assert min(counted[name] for name in ('matches', 'odds', 'rejects', 'fixture_changes')) > 0
    with write_transaction(engine) as connection:
        for table in ('odds', 'fixture_changes', 'rejects'):
            connection.exec_driver_sql(f'DELETE FROM {table}')
        connection.exec_driver_sql(
            "UPDATE matches SET home_goals = home_goals + 1 WHERE season = '2324'"
        )
        connection.exec_driver_sql("DELETE FROM matches WHERE season = '2425'")
    rebuild_tables(engine, home / 'snapshots', sources)
    assert count_rows(engine) == counted
    assert rebuild_tables(engine, home / 'snapshots', sources)[1].select(
        'added', 'changed', 'removed'
    ).sum().row(0) == (0, 0, 0)


def test_the_folder_alone_brings_everything_back(engine, host, gather, home):
    gather('football_data_uk', f'{host.url}/uk', ['E0'], ['2324', '2425'])
    new = open_database(f"sqlite:///{home / 'new.db'}")
    rebuild_tables(new, home / 'snapshots', {name: create_source(name) for name in SOURCES})
    for table in REBUILT_TABLES:
        assert read_table_rows(new, table).equals(read_table_rows(engine, table))
    new.dispose()
