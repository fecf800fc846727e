"Faults of a running platform, each repaired at the end of its block."

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from threading import Event, Thread
from types import SimpleNamespace

from sqlalchemy import Engine, select

from football_pred.core import schema
from football_pred.core.database import read_frame, upsert, write_transaction
from football_pred.core.job_runs import begin_run, finish_run
from football_pred.core.settings import Settings
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.http_messages import FetchLimits
from football_pred.ingest.sources import create_source
from tests.support.exporter_day import AS_OF, now, record_run
from tests.support.services import free_port

MADE = {
    'source': 'bundled',
    'home_team': 'Arsenal',
    'away_team': 'Everton',
    'league': 'E0',
    'season': '2526',
    'kickoff_known': True,
    'neutral': False,
    'status': 'scheduled',
}


@contextmanager
def matches_at(engine: Engine, *kickoffs: datetime) -> Iterator[None]:
    "Add scheduled matches with these kick-offs."
    with write_transaction(engine) as connection:
        origin = {
            'snapshot_id': connection.execute(select(schema.snapshots.c.snapshot_id))
            .scalars()
            .first()
        }
        rows = [
            MADE | origin | {'match_id': f'made-{i}', 'kickoff': at, 'date': at.date()}
            for i, at in enumerate(kickoffs)
        ]
        connection.execute(schema.matches.insert(), rows)
    try:
        yield
    finally:
        with write_transaction(engine) as connection:
            connection.execute(
                schema.matches.delete().where(schema.matches.c.match_id.startswith('made-'))
            )


@contextmanager
def guard_gone(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    "Drop the trigger that protects settlements from deletion."
    with write_transaction(engine) as connection:
        trigger = connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE name = 'settlements_DELETE'"
        ).scalar_one()
        connection.exec_driver_sql('DROP TRIGGER settlements_DELETE')
    try:
        yield
    finally:
        with write_transaction(engine) as connection:
            connection.exec_driver_sql(trigger)


@contextmanager
def silent_run(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    "A running run without a heartbeat for an hour."
    begin_run(
        engine,
        dict(
            run_id='silent',
            job='simulate',
            pipeline=None,
            key='silent',
            params={},
            as_of=now(),
            upstream=[],
            lease='simulate',
        ),
        now() - timedelta(hours=1),
    )
    try:
        yield
    finally:
        finish_run(engine, 'silent', 'cancelled', now())


@contextmanager
def unforecast(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    record_run(
        engine, f'mended-{now():%H%M%S%f}', 'clean', 'succeeded'
    )  # a failing clean inhibits the alert
    with matches_at(engine, AS_OF + timedelta(days=2)):
        yield


@contextmanager
def overdue(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    with matches_at(engine, *[AS_OF - timedelta(days=10 + i) for i in range(4)]):
        yield


@contextmanager
def rows_gone(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    "Delete a tenth of the odds."
    odds = read_frame(engine, select(schema.odds))
    with write_transaction(engine) as connection:
        for match_id in odds['match_id'].unique().sort().head(odds['match_id'].n_unique() // 10):
            connection.execute(schema.odds.delete().where(schema.odds.c.match_id == match_id))
    try:
        yield
    finally:
        with write_transaction(engine) as connection:
            upsert(connection, schema.odds, odds)


@contextmanager
def unreadable(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    "Truncate the manifest of a backup."
    path = next(Settings(home=platform.home).backups_folder.glob('*/manifest.json'))
    content = path.read_bytes()
    path.write_bytes(content[:100])
    try:
        yield
    finally:
        path.write_bytes(content)


@contextmanager
def server_gone(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    platform.running['api'].close()
    try:
        yield
    finally:
        platform.running['api'] = platform.start('api')


@contextmanager
def no_source(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    "Fetch six pages from a source that does not answer, repeatedly."
    source = create_source('openfootball', base_url=f'http://127.0.0.1:{free_port()}')
    snapshots = Settings(home=platform.home).snapshots_folder
    stop = Event()

    def fetch() -> None:
        while not stop.is_set():
            collect_payloads(
                engine,
                snapshots,
                source,
                ['E0', 'D1', 'SP1'],
                ['2425', '2526'],
                now,
                run_id='unreachable',
                limits=FetchLimits(retries=0, requests_per_second=None),
            )

    thread = Thread(target=fetch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def not_run(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    "Move the latest settlements of forecasts back by two days."
    columns = schema.job_runs.c

    def move(by: timedelta) -> None:
        with write_transaction(engine) as connection:
            for run_id, at in connection.execute(
                select(columns.run_id, columns.finished_at).where(columns.job == 'settle')
            ).all():
                connection.execute(
                    schema.job_runs.update()
                    .where(columns.run_id == run_id)
                    .values(finished_at=at + by)
                )

    move(-timedelta(days=2))
    try:
        yield
    finally:
        move(timedelta(days=2))


Fault = Callable[[SimpleNamespace, Engine], AbstractContextManager[None]]
FAULTS: dict[
    str, tuple[Fault, dict[str, str]]
] = {  # cause of an alert, and labels that it must have
    'LedgerTouched': (guard_gone, {}),
    'JobStuck': (silent_run, {'job': 'simulate'}),
    'JobLate': (not_run, {'job': 'settle'}),
    'FixturesWithoutForecast': (unforecast, {'league': 'E0'}),
    'FeaturesMissing': (unforecast, {'league': 'E0'}),
    'ResultsOverdue': (overdue, {'league': 'E0'}),
    'TableShrinking': (rows_gone, {'table': 'odds'}),
    'CollectorDown': (unreadable, {'collector': 'backups'}),
    'PartUnreachable': (server_gone, {'part': 'api'}),
    'CollectionFailing': (no_source, {'data_source': 'openfootball'}),
}
