"The same collection and cleaning on PostgreSQL and on an object store as on SQLite and in a folder."

import socket
from datetime import UTC, date, datetime

import polars as pl
import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, OperationalError
from upath import UPath

from football_pred.core import schema
from football_pred.core.as_of import read_matches
from football_pred.core.database import count_rows, open_engine, read_frame, write_transaction
from football_pred.core.files import read_payload, read_snapshot_records
from football_pred.core.ledger_log import HeadFile
from football_pred.core.maintenance import create_partitions
from football_pred.core.settings import Settings
from football_pred.forecasts.ledger import append_forecasts, count_by_kind, settle_forecasts
from football_pred.forecasts.ledger_verification import verify_ledger
from football_pred.forecasts.predict import forecast_fixtures, upcoming_fixtures
from football_pred.forecasts.queries import read_scoreboard
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.load import REBUILT_TABLES, load_new_payloads, rebuild_tables
from football_pred.ingest.open_sources import BundledSource
from football_pred.ingest.quality import quality_metrics
from football_pred.ingest.reconcile import read_table_rows
from football_pred.ingest.sources import SOURCES, create_source
from football_pred.markets.prices import bookmaker_overrounds, join_prices, read_prices
from football_pred.models.base_rate import BaseRate
from tests.support.live_forecasts import SURE_DRAW, past_clock

AT, LATER = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
KNOWN = {name: create_source(name) for name in SOURCES}


def gather(engine, folder, seasons=('2324', '2425', '2526')):
    collect_payloads(engine, folder, BundledSource(), ['E0'], seasons, lambda: LATER)
    return load_new_payloads(engine, folder, KNOWN)


def test_tables_are_the_same_on_both_databases(engine, postgresql, home):
    one, other = gather(engine, home / 'snapshots'), gather(postgresql, home / 'elsewhere')
    assert (
        (one.match_count, one.new_match_count)
        == (other.match_count, other.new_match_count)
        == (1140, 1140)
    )
    for table in (*REBUILT_TABLES, schema.leagues, schema.team_aliases):
        assert read_table_rows(engine, table).equals(read_table_rows(postgresql, table))
    assert load_new_payloads(postgresql, home / 'elsewhere', KNOWN).payload_count == 0


def test_replay_on_postgresql(postgresql, home):
    gather(postgresql, home / 'snapshots')
    with write_transaction(postgresql) as connection:
        connection.exec_driver_sql("DELETE FROM matches WHERE season = '2425'")
    _, tables = rebuild_tables(postgresql, home / 'snapshots', KNOWN)
    assert tables.filter(table='matches').row(0) == ('matches', 1140, 380, 0, 0)
    assert rebuild_tables(postgresql, home / 'snapshots', KNOWN)[1].select(
        'added', 'changed', 'removed'
    ).sum().row(0) == (0, 0, 0)


def test_replay_of_prices_that_stand_in_parts(postgresql, home, shared_data):
    class Sheets(SOURCES['football_data_uk']):
        def fetch(self, request):
            return (
                shared_data / 'football_data_uk' / f'{request.league}_{request.season}.csv'
            ).read_bytes()

    collect_payloads(postgresql, home / 'snapshots', Sheets(), ['E0'], ['2425'], lambda: LATER)
    with write_transaction(postgresql) as connection:
        create_partitions(connection, date(2024, 10, 1), 3)
    cleaned = load_new_payloads(postgresql, home / 'snapshots', KNOWN)
    with write_transaction(postgresql) as connection:
        create_partitions(connection, date(2025, 2, 1), 2)
    with postgresql.connect() as connection:
        parts = dict(
            connection.exec_driver_sql(
                'SELECT tableoid::regclass::text, count(*) FROM odds GROUP BY 1'
            ).all()
        )
    assert (len(parts), sum(parts.values())) == (6, cleaned.price_count)

    def differences():
        return (
            rebuild_tables(postgresql, home / 'snapshots', KNOWN)[1]
            .filter(table='odds')
            .select('added', 'changed', 'removed')
            .row(0)
        )

    assert differences() == (0, 0, 0)
    with write_transaction(postgresql) as connection:
        gone = connection.exec_driver_sql('DELETE FROM odds_2024_11').rowcount
        wrong = connection.exec_driver_sql(
            "UPDATE odds SET price = 99 WHERE bookmaker = 'bet365' AND market = 'total'"
        ).rowcount
        connection.exec_driver_sql(
            "INSERT INTO odds SELECT match_id, 'nobody', market, line, selection, known_at, phase, price, source, snapshot_id "
            "FROM odds WHERE bookmaker = 'bet365' AND market = '1x2' AND selection = 'home' AND phase = 'closing'"
        )
        surplus = connection.exec_driver_sql(
            "SELECT count(*) FROM odds WHERE bookmaker = 'nobody'"
        ).scalar()
    assert min(gone, wrong, surplus) > 0
    assert differences() == (gone, wrong, surplus)
    assert differences() == (0, 0, 0)


def test_prices_on_postgresql(postgresql, home, shared_data):
    class Sheets(SOURCES['football_data_uk']):
        def fetch(self, request):
            return (
                shared_data / 'football_data_uk' / f'{request.league}_{request.season}.csv'
            ).read_bytes()

    collect_payloads(postgresql, home / 'snapshots', Sheets(), ['E0'], ['2425'], lambda: LATER)
    cleaned = load_new_payloads(postgresql, home / 'snapshots', KNOWN)
    assert (cleaned.match_count, count_rows(postgresql)['odds']) == (380, cleaned.price_count)
    margins = bookmaker_overrounds(
        read_prices(postgresql, LATER, leagues=['E0'], bookmakers=['market_average'])
    )
    assert margins['matches'].to_list() == [380]
    assert 0.03 < margins['overround'][0] < 0.08
    matches = join_prices(postgresql, read_matches(postgresql, LATER), LATER)
    assert (
        matches.select(pl.selectors.contains('opening', 'closing')).null_count().sum_horizontal()[0]
        == 0
    )
    assert (matches['opening_known_at'] < matches['kickoff']).all()
    before = join_prices(
        postgresql, read_matches(postgresql, at := datetime(2025, 1, 1, tzinfo=UTC)), at
    )
    later = before.filter(pl.col('kickoff') > at)
    assert (
        later.height > 0,
        later['closing_home'].null_count(),
        later['home_shots'].null_count(),
    ) == (True, later.height, later.height)
    figures = quality_metrics(postgresql, read_matches(postgresql, LATER), ['E0'], ['2425'], LATER)
    assert (figures['pairs missing'], figures['seasons missing'], figures['unknown names']) == (
        0,
        0,
        0,
    )


def test_the_ledger_is_guarded_on_postgresql(postgresql, home):
    gather(postgresql, home / 'snapshots')
    known = read_matches(postgresql, AT)
    forecasts = forecast_fixtures(
        BaseRate().fit(known.filter(status='finished'), as_of=AT), upcoming_fixtures(known, AT, 30)
    )
    heads = HeadFile(home / 'heads')
    source = ('base', '1', AT, 'data', 'features', 'run')
    with past_clock(postgresql, AT) as clock:
        added = append_forecasts(postgresql, heads, forecasts, *source, clock=clock)
        assert append_forecasts(postgresql, heads, forecasts, *source, clock=clock) == 0
    settled = settle_forecasts(postgresql, heads, read_matches(postgresql, LATER), LATER, 'run')
    assert count_by_kind(postgresql) == {'live': (added, added), 'replay': (0, 0)}
    found = verify_ledger(postgresql, heads)
    assert (added, settled.height, found.forecasts, found.settlements, found.problems) == (
        len(forecasts),
        added,
        added,
        added,
        [],
    )
    for statement in (
        'UPDATE predictions SET p_home = 0.5',
        'DELETE FROM predictions',
        'TRUNCATE predictions CASCADE',
        'DELETE FROM settlements',
        'INSERT INTO predictions SELECT * FROM predictions LIMIT 1',
    ):
        with pytest.raises(DBAPIError), write_transaction(postgresql) as connection:
            connection.exec_driver_sql(statement)
    with write_transaction(postgresql) as connection:
        connection.exec_driver_sql('ALTER TABLE predictions DISABLE TRIGGER predictions_change')
    with write_transaction(postgresql) as connection:
        connection.exec_driver_sql('UPDATE predictions SET confidence = 0.9 WHERE sequence = 3')
    problems = verify_ledger(postgresql, heads).problems
    assert any('predictions_change' in problem for problem in problems)
    assert any('was edited' in problem for problem in problems)


def test_replays_move_no_live_figure_on_postgresql(postgresql, home):
    gather(postgresql, home / 'snapshots')
    known = read_matches(postgresql, AT)
    forecasts = forecast_fixtures(
        BaseRate().fit(known.filter(status='finished'), as_of=AT), upcoming_fixtures(known, AT, 30)
    )
    heads = HeadFile(home / 'heads')
    finished = read_matches(postgresql, LATER)
    with past_clock(postgresql, AT) as clock:
        append_forecasts(
            postgresql, heads, forecasts, 'base', '1', AT, 'd', 'f', 'run', clock=clock
        )
    settle_forecasts(postgresql, heads, finished, LATER, 'run')
    live = read_scoreboard(postgresql, LATER)
    assert [(row['kind'], row['matches']) for row in live] == [('live', forecasts.height)]
    wrong = forecasts.with_columns(**SURE_DRAW)
    append_forecasts(postgresql, heads, wrong, 'base', '2', AT, 'd', 'f', 'run')
    settle_forecasts(postgresql, heads, finished, LATER, 'run')
    assert read_scoreboard(postgresql, LATER) == live
    replays = read_scoreboard(postgresql, LATER, 'replay')
    assert [(row['kind'], row['matches']) for row in replays] == [('replay', forecasts.height)]
    assert replays[0]['rps'] > live[0]['rps']
    assert verify_ledger(postgresql, heads).problems == []


@pytest.fixture
def bucket(object_store, monkeypatch):
    import boto3

    for name, value in (
        ('AWS_ACCESS_KEY_ID', 'key'),
        ('AWS_SECRET_ACCESS_KEY', 'secret'),
        ('AWS_ENDPOINT_URL', object_store),
        ('AWS_DEFAULT_REGION', 'us-east-1'),
    ):
        monkeypatch.setenv(name, value)
    boto3.client('s3').create_bucket(Bucket='payloads')
    settings = Settings(snapshots_url='s3://payloads/snapshots')
    assert isinstance(settings.snapshots_folder, UPath)
    return settings.snapshots_folder


def test_payloads_are_kept_in_an_object_store(engine, home, bucket):
    cleaned = gather(engine, bucket)
    assert (cleaned.match_count, len(read_snapshot_records(bucket))) == (1140, 3)
    paths = read_frame(engine, select(schema.snapshots.c.path))['path']
    assert [read_payload(bucket, path)[:7] for path in paths] == [b'season,'] * 3
    assert rebuild_tables(engine, bucket, KNOWN)[1].select('added', 'changed', 'removed').sum().row(
        0
    ) == (
        0,
        0,
        0,
    )
    (bucket / paths[0]).write_bytes(b'something else')
    with pytest.raises(ValueError, match='has changed on disk'):
        rebuild_tables(engine, bucket, KNOWN)
    assert (
        collect_payloads(
            engine, bucket, BundledSource(), ['E0'], ['2324', '2425', '2526'], lambda: LATER
        )['status'].to_list()
        == ['unchanged'] * 3
    )
    assert rebuild_tables(engine, bucket, KNOWN)[0].payload_count == 3


def test_a_server_that_does_not_answer_is_given_up():
    with socket.create_server(('127.0.0.1', 0)) as mute:  # takes connections and says nothing
        engine = open_engine(
            f'postgresql+psycopg://somebody@127.0.0.1:{mute.getsockname()[1]}/football',
            connect_timeout=2,
        )
        with pytest.raises(OperationalError, match='timeout expired'):
            engine.connect()


def test_a_server_that_vanishes_is_noticed(postgresql):
    with postgresql.connect() as connection:
        limits = connection.connection.driver_connection.info.get_parameters()
    assert {
        name: limits[name] for name in ('connect_timeout', 'keepalives_idle', 'tcp_user_timeout')
    } == {'connect_timeout': '10', 'keepalives_idle': '30', 'tcp_user_timeout': '60000'}
    own = open_engine(
        postgresql.url.update_query_dict({'connect_timeout': '3'}).render_as_string(
            hide_password=False
        )
    )
    with own.connect() as connection:
        assert (
            connection.connection.driver_connection.info.get_parameters()['connect_timeout'] == '3'
        )
    own.dispose()
