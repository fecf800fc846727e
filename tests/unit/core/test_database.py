"The database: migrations, schema drift, timeouts, roles, commands and partitions."

import os
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, create_engine, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from football_pred.core import migrate, schema
from football_pred.core.database import (
    MigrationRequired,
    open_database,
    open_engine,
    upsert,
    write_transaction,
)
from football_pred.core.maintenance import (
    READER_ROLE,
    WRITER_ROLE,
    create_partitions,
    create_roles,
    drop_partitions,
    schema_drift,
)
from tests.support.server import run
from tests.support.services import new_database, run_postgresql, url_of_server

NOW = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture(params=['sqlite', 'postgresql'])
def empty(request, home) -> Iterator[Engine]:
    "A database without tables."
    if request.param == 'sqlite':
        engine = open_engine(f"sqlite:///{home / 'empty.db'}")
        yield engine
        engine.dispose()
    else:
        with new_database(request.getfixturevalue('postgresql_server')) as url:
            engine = open_engine(url)
            yield engine
            engine.dispose()


def go(engine: Engine, way, revision: str) -> None:
    with write_transaction(engine) as connection:
        way(connection, revision)


LEAGUE = dict(
    league='E0',
    name='Premier League',
    country='England',
    tier=1,
    time_zone='Europe/London',
    teams=20,
)
SNAPSHOT = dict(
    snapshot_id='s',
    source='bundled',
    url='u',
    kind='results',
    sha256='0' * 64,
    bytes=1,
    fetched_at=NOW,
    path='x',
    sequence=1,
    rows=1,
)
MATCH = dict(
    match_id='m',
    league='E0',
    season='2526',
    kickoff=NOW + timedelta(days=3),
    kickoff_known=True,
    date=date(2026, 4, 4),
    home_team='Arsenal',
    away_team='Everton',
    neutral=False,
    status='scheduled',
    source='bundled',
    snapshot_id='s',
)


def price(match_id: str = 'm', known_at: datetime = NOW, **other) -> dict:
    return (
        dict(
            match_id=match_id,
            bookmaker='b',
            market='1x2',
            line='',
            selection='home',
            known_at=known_at,
            phase='opening',
            price=2.0,
            source='bundled',
            snapshot_id='s',
        )
        | other
    )


def log(log_id: str, start: datetime, **other) -> dict:
    return (
        dict(
            log_id=log_id,
            data_source='bundled',
            collection_type='results',
            url='u',
            start_time=start,
            end_time=start,
            status='success',
            records=1,
            errors=0,
            attempts=1,
            run_id='r',
            run_key='k',
        )
        | other
    )


def fill(engine: Engine) -> None:
    "A row of every kind that later migrations move."
    with write_transaction(engine) as connection:
        for table, row in (
            (schema.leagues, LEAGUE),
            (schema.snapshots, SNAPSHOT),
            (schema.matches, MATCH),
            (schema.odds, price()),
            (schema.data_collection_logs, log('a', NOW)),
        ):
            connection.execute(table.insert().values(row))


def read_rows(engine: Engine) -> list:
    "Read the rows that `fill` writes."
    tables = (
        schema.leagues,
        schema.snapshots,
        schema.matches,
        schema.odds,
        schema.data_collection_logs,
    )
    with engine.connect() as connection:
        return [connection.execute(select(table)).all() for table in tables]


def test_the_head_is_alembics():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option('script_location', 'football_pred:migrations')
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [migrate.head_revision()]
    numbers = [script.revision for script in scripts.walk_revisions()]
    assert numbers == [f'{number:04}' for number in range(len(numbers), 0, -1)]


def test_migrations_make_what_is_declared_and_take_it_away(empty):
    go(empty, migrate.upgrade_schema, 'head')
    assert (migrate.current_revision(empty), schema_drift(empty)) == (migrate.head_revision(), [])
    go(empty, migrate.downgrade_schema, 'base')
    assert (migrate.current_revision(empty), inspect(empty).get_table_names()) == (
        None,
        ['alembic_version'],
    )
    if empty.dialect.name == 'postgresql':
        with empty.connect() as connection:
            left = connection.exec_driver_sql(
                "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            ).all()
        assert left == []
    go(empty, migrate.upgrade_schema, 'head')
    assert schema_drift(empty) == []


def test_data_are_kept_on_the_way_there_and_back(empty):
    go(empty, migrate.upgrade_schema, '0001')
    fill(empty)
    before = read_rows(empty)
    assert all(before)
    for number in range(2, int(migrate.head_revision()) + 1):
        go(empty, migrate.upgrade_schema, f'{number:04}')
        assert read_rows(empty) == before
    assert schema_drift(empty) == []
    go(empty, migrate.downgrade_schema, '0001')
    assert read_rows(empty) == before


def test_a_database_from_before_migrations_is_taken_over(empty):
    "It has the tables of 0001, or some of them, and no number."
    go(empty, migrate.upgrade_schema, '0001')
    with write_transaction(empty) as connection:
        for statement in ('DROP TABLE alembic_version', 'DROP TABLE audit_log'):
            connection.exec_driver_sql(statement)
    fill(empty)
    before = read_rows(empty)
    if empty.dialect.name == 'postgresql':
        with pytest.raises(
            MigrationRequired,
            match=r'no migration and this release needs .*football-pred database upgrade',
        ):
            open_database(url_of(empty))
        go(empty, migrate.upgrade_schema, 'head')
    else:
        open_database(url_of(empty)).dispose()
    assert (read_rows(empty), schema_drift(empty), migrate.current_revision(empty)) == (
        before,
        [],
        migrate.head_revision(),
    )


def url_of(engine: Engine, **changed: str) -> str:
    return engine.url.set(**changed).render_as_string(hide_password=False)


def test_drift_is_found(empty):
    open_database(url_of(empty)).dispose()
    assert (schema_drift(empty), migrate.current_revision(empty)) == ([], migrate.head_revision())
    postgresql = empty.dialect.name == 'postgresql'
    trigger = 'settlements_truncate ON settlements' if postgresql else 'settlements_DELETE'
    for statement in (
        'ALTER TABLE teams ADD COLUMN stadium VARCHAR',
        'DROP INDEX ix_matches_league_kickoff',
        f'DROP TRIGGER {trigger}',
        'CREATE INDEX by_country ON teams (country)',
        'CREATE TABLE venues (venue VARCHAR)',
    ):
        with write_transaction(empty) as connection:
            connection.exec_driver_sql(statement)
    differences = schema_drift(empty)
    for expected in (
        'not known: column teams.stadium' if postgresql else 'not known: table teams stadium',
        'missing: index',
        'missing: trigger',
        'not known: index',
        'venue',
    ):
        assert any(expected in line for line in differences), (expected, differences)
    assert len(differences) == 5
    if not postgresql:
        return
    for statement in (
        'ALTER TABLE odds DROP CONSTRAINT ck_odds_price',
        'ALTER TABLE predictions DISABLE TRIGGER predictions_change',
        'DROP TABLE odds_default',
        'ALTER TABLE api_keys ALTER COLUMN name DROP NOT NULL',
        'CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger '
        "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    ):
        with write_transaction(empty) as connection:
            connection.exec_driver_sql(statement)
    further = [line for line in schema_drift(empty) if line not in differences]
    for expected in (
        'missing: constraint odds.ck_odds_price',
        'predictions_change',
        'missing: partition odds_default',
        'missing: column api_keys.name',
        'not known: function refuse_change',
    ):
        assert any(expected in line for line in further), (expected, further)


def test_an_older_sqlite_file_moves_when_it_is_opened(home):
    engine = open_engine(url := f"sqlite:///{home / 'football.db'}")
    go(engine, migrate.upgrade_schema, '0001')
    fill(engine)
    before = read_rows(engine)
    moved = open_database(url)
    assert (read_rows(moved), migrate.current_revision(moved), schema_drift(moved)) == (
        before,
        migrate.head_revision(),
        [],
    )


def test_many_may_open_an_empty_postgresql_at_once(postgresql_server):
    with new_database(postgresql_server) as url:
        problems, together = [], threading.Barrier(6)

        def work() -> None:
            together.wait()
            try:
                open_database(url).dispose()
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        engine = open_database(url)
        assert (problems, schema_drift(engine)) == ([], [])
        engine.dispose()


def test_a_database_that_is_behind_is_reported(postgresql_server):
    with new_database(postgresql_server) as url:
        engine = open_engine(url)
        go(engine, migrate.upgrade_schema, '0001')
        with pytest.raises(
            MigrationRequired,
            match=f'stands at migration 0001 and this release needs {migrate.head_revision()}',
        ):
            open_database(url)
        go(engine, migrate.upgrade_schema, 'head')
        with write_transaction(engine) as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        open_database(url).dispose()  # of a later release
        engine.dispose()


# Timeouts


def test_a_statement_is_cancelled_after_its_timeout(postgresql_server):
    engine = open_engine(
        postgresql_server, statement_seconds=0.2, application_name='football-pred test'
    )
    with engine.connect() as connection:
        assert connection.exec_driver_sql('SHOW application_name').scalar() == 'football-pred test'
        timeouts = {
            name: connection.exec_driver_sql(f'SHOW {name}').scalar()
            for name in ('lock_timeout', 'idle_in_transaction_session_timeout')
        }
        assert timeouts == {'lock_timeout': '30s', 'idle_in_transaction_session_timeout': '10min'}
    with pytest.raises(DBAPIError, match='statement timeout'), engine.connect() as connection:
        connection.exec_driver_sql('SELECT pg_sleep(5)')
    with engine.connect() as connection:
        assert connection.exec_driver_sql('SELECT 1').scalar() == 1
    engine.dispose()
    renamed = open_engine(
        postgresql_server + '&connect_timeout=9&application_name=mine', statement_seconds=60
    )
    with renamed.connect() as connection:
        assert connection.exec_driver_sql('SHOW application_name').scalar() == 'mine'
    renamed.dispose()


def test_a_copy_and_a_migration_have_no_statement_timeout(postgresql):
    "A copy into a table, here one with a slow trigger, and a migration."
    fill(postgresql)
    with write_transaction(postgresql) as connection:
        connection.exec_driver_sql(
            'CREATE FUNCTION slow() RETURNS trigger '
            "LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END'"
        )
        connection.exec_driver_sql(
            'CREATE TRIGGER slow BEFORE INSERT ON odds FOR EACH ROW EXECUTE FUNCTION slow()'
        )
    engine = open_database(url_of(postgresql), statement_seconds=0.2)
    rows = [price(bookmaker=f'{number:03}') for number in range(200)]
    with write_transaction(engine) as connection:
        assert upsert(connection, schema.odds, rows) == 200
        with pytest.raises(DBAPIError, match='statement timeout'), connection.begin_nested():
            connection.exec_driver_sql('SELECT pg_sleep(5)')
    with write_transaction(engine) as connection:
        connection.exec_driver_sql('DROP TRIGGER slow ON odds')
    with write_transaction(engine) as connection:
        migrate.downgrade_schema(connection, '0001')
        connection.exec_driver_sql('SELECT pg_sleep(0.5)')
    assert migrate.current_revision(engine) == '0001'
    engine.dispose()


def test_settings_reach_the_connections(postgresql, home):
    from football_pred.core.settings import Settings

    settings = Settings(
        home=home,
        database_url=url_of(postgresql),
        statement_seconds=7,
        pool_size=3,
        run_id='collect-1',
    )
    engine = open_database(**settings.database_options)
    with engine.connect() as connection:
        options = [
            connection.exec_driver_sql(f'SHOW {name}').scalar()
            for name in ('statement_timeout', 'application_name')
        ]
    assert (options, engine.pool.size()) == (['7s', 'football-pred collect-1'], 3)
    engine.dispose()


# Roles

PASSWORDS = {READER_ROLE: "it's a secret", WRITER_ROLE: 'another; -- secret'}


@pytest.fixture(scope='module')
def owned() -> Iterator[URL]:
    "A database of an owner who is no superuser, with tables and roles, on a server of its own."
    with run_postgresql() as server, new_database(url_of_server(server)) as url:
        with create_engine(url, isolation_level='AUTOCOMMIT').connect() as connection:
            connection.exec_driver_sql('CREATE ROLE football_admin LOGIN CREATEROLE')
            connection.exec_driver_sql(
                f'ALTER DATABASE {make_url(url).database} OWNER TO football_admin'
            )
        admin = open_engine(url_of(create_engine(url), username='football_admin'))
        go(admin, migrate.upgrade_schema, 'head')
        for _ in range(2):
            with write_transaction(admin) as connection:
                create_roles(connection, PASSWORDS)
        yield admin.url
        admin.dispose()


@pytest.fixture
def login(owned) -> Iterator:
    engines: list[Engine] = []

    def as_role(role: str) -> Engine:
        engines.append(
            open_database(owned.set(username=role).render_as_string(hide_password=False))
        )
        return engines[-1]

    yield as_role
    for engine in engines:
        engine.dispose()


REFUSED = 'permission denied|must be owner'


def refused(engine: Engine, *statements: str) -> None:
    for statement in statements:
        with pytest.raises(DBAPIError, match=REFUSED), write_transaction(engine) as connection:
            connection.exec_driver_sql(statement)


def test_the_reader_reads(login):
    from football_pred.core.database import count_rows

    reader = login(READER_ROLE)
    assert count_rows(reader)['api_keys'] == 0
    refused(
        reader,
        "INSERT INTO teams VALUES ('England', 'Arsenal')",
        'UPDATE job_runs SET state = state',
        'DELETE FROM events',
        'TRUNCATE odds',
        'CREATE TABLE mine (x int)',
        'DROP TABLE teams',
        'SELECT digest FROM api_keys',
        'DELETE FROM odds_default',
    )


def test_the_writer_writes_and_no_more(login):
    writer = login(WRITER_ROLE)
    with write_transaction(writer) as connection:
        upsert(connection, schema.teams, [dict(country='England', team='Arsenal')])
    for table in ('predictions', 'settlements', 'audit_log'):
        column = next(iter(schema.metadata.tables[table].primary_key)).name
        refused(
            writer,
            f'UPDATE {table} SET {column} = {column}',
            f'DELETE FROM {table}',
            f'TRUNCATE {table} CASCADE',
            f'ALTER TABLE {table} DISABLE TRIGGER ALL',
        )
    refused(
        writer,
        'DROP TABLE teams',
        'CREATE TABLE mine (x int)',
        'ALTER TABLE teams ADD COLUMN x int',
        'DELETE FROM job_runs',
        'DELETE FROM api_keys',
        "UPDATE alembic_version SET version_num = ''",
        'DROP TRIGGER predictions_chain ON predictions',
        'CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger '
        "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    )


def test_roles_cover_later_tables(owned, login):
    admin = open_engine(owned.render_as_string(hide_password=False))
    with write_transaction(admin) as connection:
        connection.exec_driver_sql('CREATE TABLE later (number BIGSERIAL PRIMARY KEY, name TEXT)')
        create_partitions(connection, date(2031, 1, 5), 1)
    with write_transaction(login(WRITER_ROLE)) as connection:
        connection.exec_driver_sql("INSERT INTO later (name) VALUES ('a')")
    with login(READER_ROLE).connect() as connection:
        assert connection.exec_driver_sql('SELECT name FROM later').scalars().all() == ['a']
        assert connection.exec_driver_sql('SELECT count(*) FROM odds_2031_01').scalar() == 0
    refused(login(READER_ROLE), "INSERT INTO later (name) VALUES ('a')")
    with write_transaction(admin) as connection:
        connection.exec_driver_sql('DROP TABLE later')
    admin.dispose()


def test_passwords_are_kept_as_digests(owned):
    with create_engine(owned.set(username='postgres')).connect() as connection:
        verifiers = dict(
            connection.exec_driver_sql(
                'SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY(%s)',
                ([READER_ROLE, WRITER_ROLE],),
            ).all()
        )
    for role in (READER_ROLE, WRITER_ROLE):
        assert is_password(verifiers[role], PASSWORDS[role])


def is_password(verifier: str, password: str) -> bool:
    "Whether a SCRAM verifier belongs to a password (RFC 5803)."
    import base64
    import hashlib
    import hmac

    kind, rounds_salt, keys = verifier.split('$')
    rounds, salt = rounds_salt.split(':')
    salted = hashlib.pbkdf2_hmac('sha256', password.encode(), base64.b64decode(salt), int(rounds))
    stored = hashlib.sha256(hmac.digest(salted, b'Client Key', 'sha256')).digest()
    return kind == 'SCRAM-SHA-256' and base64.b64decode(keys.split(':')[0]) == stored


def test_a_role_without_tables_says_what_to_do(owned):
    server = owned.set(username='postgres').render_as_string(hide_password=False)
    with (
        new_database(server) as url,
        pytest.raises(MigrationRequired, match='run football-pred database upgrade as the owner'),
    ):
        open_database(make_url(url).set(username=WRITER_ROLE).render_as_string(hide_password=False))


def test_the_writer_can_do_every_job(owned, login, home, monkeypatch):
    monkeypatch.setenv(
        'FOOTBALL_DATABASE_URL',
        owned.set(username=WRITER_ROLE).render_as_string(hide_password=False),
    )
    for job in ('collect', 'clean'):
        run(home, 'run', job, '-p', 'seasons', "['2425', '2526']")
    run(home, 'run', 'features')
    run(home, 'run', 'train', '-p', 'candidates', '[DixonColes]')
    run(home, 'run', 'predict')
    run(home, 'run', 'settle', '--as-of', '2026-07-01')
    from football_pred.core.database import count_rows

    rows = count_rows(login(READER_ROLE))
    assert rows['predictions'] == rows['settlements'] > 0
    key = run(home, 'keys', 'create', 'somebody').stdout
    assert 'key ' in key
    assert run(home, 'ledger', 'verify').stdout.count('intact') == 1
    monkeypatch.setenv(
        'FOOTBALL_DATABASE_URL',
        owned.set(username=READER_ROLE).render_as_string(hide_password=False),
    )
    assert 'succeeded' in run(home, 'status').stdout


# Commands


def test_commands_of_the_owner(postgresql_server, home, monkeypatch):
    import subprocess

    from tests.support.warm import warm_command

    with new_database(postgresql_server) as url:
        env = os.environ | {'FOOTBALL_HOME': str(home), 'FOOTBALL_DATABASE_URL': url}

        def run_database(*arguments: str, code: int = 0, **more: str) -> str:
            result = subprocess.run(
                [*warm_command(), 'database', *arguments],
                env=env | more,
                capture_output=True,
                text=True,
            )
            assert result.returncode == code, result.stdout + result.stderr
            return result.stdout + result.stderr

        head = migrate.head_revision()
        assert run_database('status', code=1) == f'at no migration, this release needs {head}\n'
        assert run_database('upgrade', '--to', '0001') == 'from no migration to 0001\n'
        failed = subprocess.run(
            [*warm_command(), 'status'], env=env, capture_output=True, text=True
        )
        assert (
            failed.returncode,
            'run football-pred database upgrade' in failed.stderr,
            'Traceback' in failed.stderr,
        ) == (4, True, False)
        assert run_database('upgrade') == f'from 0001 to {head}\n'
        assert run_database('status') == f'at {head}, this release needs {head}\n'
        assert run_database('check') == 'the database is as declared\n'
        assert 'FOOTBALL_WRITER_PASSWORD must be set' in run_database(
            'roles', code=2, FOOTBALL_READER_PASSWORD='r'
        )
        assert (
            run_database('partitions', '--from', '2026-01', '--months', '1')
            == 'created odds_2026_01, data_collection_logs_2026_01\n'
        )
        assert (
            run_database('partitions', '--from', '2026-01', '--months', '1', '--keep-logs', '1')
            == 'created no partition; dropped data_collection_logs_2026_01\n'
        )
        assert run_database('check') == 'the database is as declared\n'
        assert run_database('downgrade', 'base', '--yes') == f'from {head} to no migration\n'
    assert (
        'only PostgreSQL has this'
        in subprocess.run(
            [*warm_command(), 'database', 'partitions'],
            capture_output=True,
            text=True,
            env={
                name: value for name, value in os.environ.items() if name != 'FOOTBALL_DATABASE_URL'
            }
            | {'FOOTBALL_HOME': str(home)},
        ).stderr
    )


# Partitions by month


def partition_rows(engine: Engine, table: str) -> dict[str, int]:
    "Count the rows of each partition."
    with engine.connect() as connection:
        return dict(
            connection.exec_driver_sql(
                f'SELECT tableoid::regclass::text, count(*) FROM {table} GROUP BY 1'
            ).all()
        )


def test_rows_go_to_the_partition_of_their_month(postgresql):
    fill(postgresql)
    moments = [datetime(2026, month, day, tzinfo=UTC) for month in (2, 3, 4, 5) for day in (1, 28)]
    with write_transaction(postgresql) as connection:
        upsert(
            connection,
            schema.odds,
            [price(known_at=at, bookmaker=name) for at in moments for name in map(str, range(20))],
        )
        upsert(connection, schema.data_collection_logs, [log(str(at), at) for at in moments])
    assert partition_rows(postgresql, 'odds') == {'odds_default': 161}
    with write_transaction(postgresql) as connection:
        created = create_partitions(connection, date(2026, 3, 17), 2)
    assert created == [
        'odds_2026_03',
        'odds_2026_04',
        'data_collection_logs_2026_03',
        'data_collection_logs_2026_04',
    ]
    assert partition_rows(postgresql, 'odds') == {
        'odds_default': 80,
        'odds_2026_03': 40,
        'odds_2026_04': 41,
    }
    with write_transaction(postgresql) as connection:
        assert create_partitions(connection, date(2026, 3, 1), 2) == []
    with write_transaction(
        postgresql
    ) as connection:  # overwritten where they are, whether a few or many
        assert (
            upsert(connection, schema.odds, [price(known_at=moments[2], bookmaker='1', price=3.0)])
            == 1
        )
        assert (
            upsert(
                connection,
                schema.odds,
                [
                    price(known_at=at, bookmaker=str(name), price=4.0)
                    for at in moments
                    for name in range(20)
                ],
            )
            == 160
        )
        assert (
            upsert(
                connection,
                schema.odds,
                [price(known_at=at, bookmaker=str(name)) for at in moments for name in range(20)],
                update_columns=[],
            )
            == 0
        )
        assert (
            connection.exec_driver_sql('SELECT count(*) FROM odds WHERE price = 4').scalar() == 160
        )
    with (
        pytest.raises(DBAPIError, match='ck_odds_price'),
        write_transaction(postgresql) as connection,
    ):
        connection.execute(
            schema.odds.insert().values(price(known_at=moments[2], bookmaker='new', price=0.5))
        )
    with (
        pytest.raises(DBAPIError, match='fk_odds_match_id'),
        write_transaction(postgresql) as connection,
    ):
        connection.execute(schema.odds.insert().values(price('nobody', moments[2])))
    with write_transaction(postgresql) as connection:
        dropped = drop_partitions(connection, 'data_collection_logs', date(2026, 4, 30))
    assert dropped == ['data_collection_logs_2026_03']
    assert partition_rows(postgresql, 'data_collection_logs') == {
        'data_collection_logs_default': 4,
        'data_collection_logs_2026_04': 3,
    }
    assert schema_drift(postgresql) == []
