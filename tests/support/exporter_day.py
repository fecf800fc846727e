"A home after a day's work, for tests of the exporter and of monitoring."

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine

from football_pred.api.api_keys import create_key
from football_pred.core import schema
from football_pred.core.as_of import read_matches
from football_pred.core.backup import create_backup
from football_pred.core.database import open_database, upsert, write_transaction
from football_pred.core.job_runs import begin_run, finish_run
from football_pred.core.ledger_log import HeadFile
from football_pred.core.settings import Settings
from football_pred.forecasts.ledger import append_forecasts, settle_forecasts
from football_pred.forecasts.predict import forecast_fixtures
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.http_messages import FetchLimits
from football_pred.ingest.sources import create_source
from football_pred.markets.prices import read_match_history
from football_pred.models.dixon_coles import DixonColes
from football_pred.registry.registry import ChangeLog, connect_registry
from tests.support.live_forecasts import forget_ledger, past_clock
from tests.support.server import run
from tests.support.services import free_port

AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
WINTER = datetime(2025, 11, 1, tzinfo=UTC)


def now() -> datetime:
    return datetime.now(UTC)


def record_run(
    engine: Engine,
    run_id: str,
    job: str,
    state: str,
    pipeline: str | None = None,
    upstream: tuple[str, ...] = (),
    **columns: Any,
) -> None:
    "Write a finished run as the runner does."
    row = {'run_id': run_id, 'job': job, 'pipeline': pipeline, 'key': run_id, 'params': {}}
    row |= {'as_of': AS_OF, 'upstream': list(upstream), 'lease': job}
    begin_run(engine, row, now())
    finish_run(engine, run_id, state, now(), **columns)


def first_snapshot_id(engine: Engine) -> str:
    with engine.connect() as connection:
        return connection.execute(schema.snapshots.select()).first().snapshot_id


def add_closing_prices(engine: Engine) -> None:
    "Write closing prices of four in five matches of the season 2025/26."
    rng = np.random.default_rng(3)
    price = {'bookmaker': 'market_average', 'market': '1x2', 'line': '', 'phase': 'closing'}
    price |= {'source': 'bundled', 'snapshot_id': first_snapshot_id(engine)}
    rows = []
    for i, match in enumerate(read_matches(engine, now(), ['E0'], ['2526']).to_dicts()):
        if i % 5 == 0:
            continue
        probabilities = rng.dirichlet([5, 3, 4]).clip(0.03)
        for selection, probability in zip(('home', 'draw', 'away'), probabilities, strict=True):
            row = {'match_id': match['match_id'], 'known_at': match['kickoff']}
            row |= {'selection': selection, 'price': max(round(0.94 / probability, 2), 1.01)}
            rows.append(price | row)
    with write_transaction(engine) as connection:
        upsert(connection, schema.odds, rows)


def add_challenger(engine: Engine, settings: Settings) -> None:
    "Train a challenger, seal its and the champion's live forecasts of the winter, and settle them."
    registry = connect_registry(
        **settings.registry_options,
        log=ChangeLog(engine, HeadFile(settings.ledger_heads_path), now),
    )
    champion = registry.champion('E0')
    history = read_match_history(engine, AS_OF, ['E0'])
    finished = history.filter(status='finished')
    challenger = DixonColes(half_life=120).fit(finished, as_of=AS_OF)
    trained_on = champion.trained_on | {'half_life': 120}
    version = registry.versions.register('E0', challenger, 'E0-shadow', trained_on)
    registry.set_challenger('E0', version.version)
    winter = history.filter(pl.col('kickoff') > WINTER, pl.col('kickoff') < AS_OF)
    heads = HeadFile(settings.ledger_heads_path)
    forget_ledger(engine, heads)
    with past_clock(engine, WINTER) as clock:
        for name, model in ((champion.name, champion.model), ('E0-shadow', challenger)):
            forecasts = forecast_fixtures(model, winter)
            source = (name, '1', WINTER, 'd', 'f', 'by hand')
            append_forecasts(engine, heads, forecasts, *source, clock=clock)
    settle_forecasts(engine, heads, read_matches(engine, AS_OF), AS_OF, 'by hand')


def collect_from_unreachable_source(engine: Engine, settings: Settings) -> None:
    "Fetch a page from a source that does not answer."
    collect_payloads(
        engine,
        settings.snapshots_folder,
        create_source('openfootball', base_url=f'http://127.0.0.1:{free_port()}'),
        ['E0'],
        ['2526'],
        now,
        run_id='broken',
        limits=FetchLimits(retries=0),
    )


@pytest.fixture(scope='module')
def day(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A home with live forecasts and replays of two models, prices, results, and failed runs."
    home = tmp_path_factory.mktemp('exporter') / 'home'
    shutil.copytree(served_home, home)
    settings = Settings(home=home)
    engine = open_database(settings.database_dsn)
    add_closing_prices(engine)
    add_challenger(engine, settings)
    for job in ('predict', 'settle'):
        run(home, 'run', job)
    collect_from_unreachable_source(engine, settings)
    record_run(engine, 'first', 'collect', 'succeeded', 'daily')
    failure = {'error_type': 'CheckFailed', 'error': 'too few'}
    record_run(engine, 'second', 'clean', 'failed', 'daily', ('first',), **failure)
    create_key(engine, 'reader', 'read', 'test', now())
    create_backup(engine, settings.backups_folder, AS_OF, {})
    engine.dispose()
    return home
