"What goes wrong on purpose under a running platform, and is mended at the end of the block."

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
from tests.support.services import free_port
from tests.unit.metrics.test_exporter import MOMENT, now, ran

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
    "Matches that are scheduled for then, of which nobody has heard before."
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
    "Nothing keeps settlements from being deleted."
    with write_transaction(engine) as connection:
        made = connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE name = 'settlements_DELETE'"
        ).scalar_one()
        connection.exec_driver_sql('DROP TRIGGER settlements_DELETE')
    try:
        yield
    finally:
        with write_transaction(engine) as connection:
            connection.exec_driver_sql(made)


@contextmanager
def silent_run(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    "A run that has given no sign of life for an hour."
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
    ran(
        engine, f'mended-{now():%H%M%S%f}', 'clean', 'succeeded'
    )  # or a failing clean would be the only one told of
    with matches_at(engine, MOMENT + timedelta(days=2)):
        yield


@contextmanager
def overdue(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    with matches_at(engine, *[MOMENT - timedelta(days=10 + i) for i in range(4)]):
        yield


@contextmanager
def rows_gone(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    "A tenth of the prices is gone."
    kept = read_frame(engine, select(schema.odds))
    with write_transaction(engine) as connection:
        for match_id in kept['match_id'].unique().sort().head(kept['match_id'].n_unique() // 10):
            connection.execute(schema.odds.delete().where(schema.odds.c.match_id == match_id))
    try:
        yield
    finally:
        with write_transaction(engine) as connection:
            upsert(connection, schema.odds, kept)


@contextmanager
def unreadable(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    "What a backup says of itself is cut short."
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
    "A source that does not answer is asked for six pages, again and again."
    source, snapshots, stop = (
        create_source('openfootball', base_url=f'http://127.0.0.1:{free_port()}'),
        Settings(home=platform.home).snapshots_folder,
        Event(),
    )

    def ask() -> None:
        while not stop.is_set():
            collect_payloads(
                engine,
                snapshots,
                source,
                ['E0', 'D1', 'SP1'],
                ['2425', '2526'],
                now,
                run_id='nobody there',
                limits=FetchLimits(retries=0, requests_per_second=None),
            )

    thread = Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def not_run(platform: SimpleNamespace, engine: Engine) -> Iterator[None]:
    "Forecasts were last settled two days ago."
    own = schema.job_runs.c

    def move(by: timedelta) -> None:
        with write_transaction(engine) as connection:
            for run_id, at in connection.execute(
                select(own.run_id, own.finished_at).where(own.job == 'settle')
            ).all():
                connection.execute(
                    schema.job_runs.update().where(own.run_id == run_id).values(finished_at=at + by)
                )

    move(-timedelta(days=2))
    try:
        yield
    finally:
        move(timedelta(days=2))


Fault = Callable[[SimpleNamespace, Engine], AbstractContextManager[None]]
FAULTS: dict[
    str, tuple[Fault, dict[str, str]]
] = {  # What causes an alert, and labels that it must have
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
