"The whole path on real results, through the command line: run, run again, killed again and again."

import os
import random
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml
from sqlalchemy import Engine, Table, select

from football_pred.core import schema
from football_pred.core.database import count_rows, open_database, read_frame
from football_pred.core.job_runs import find_process, recent_runs
from football_pred.core.ledger_log import HeadFile
from football_pred.core.parsing import parse_datetime
from football_pred.core.settings import Settings
from football_pred.forecasts.ledger import count_by_kind, read_settled_forecasts
from football_pred.forecasts.ledger_verification import verify_ledger
from football_pred.forecasts.queries import read_scoreboard
from football_pred.registry.mlflow_client import find_version
from football_pred.registry.registry import connect_registry
from tests.support.warm import warm_command

ROOT = Path(__file__).parents[2]
SEASONS = ['2324', '2425', '2526']
SMALL = {
    'defaults': {'seasons': SEASONS},
    'backtest': {
        'seasons': ['2526'],
        'models': {'base rate': {'class': 'BaseRate'}, 'Dixon-Coles': {'class': 'DixonColes'}},
    },
}  # Params of a quicker day
HISTORY = ('job_runs',)  # What tells of attempts, and so differs when there were more of them
ATTEMPT = (
    'run_id',
    'created_at',
    'previous_seal',
    'seal',
    'fetched_at',
    'log_id',
    'start_time',
    'end_time',
    'changed_at',
    'at',
    'recorded_at',
    'content',
    'leaf',
    'subtrees',
    'origin',
    'root',
)


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    "This checkout with the params of a quicker day."
    folder = tmp_path_factory.mktemp('project')
    for name in ('nbs', 'football_pred'):
        (folder / name).symlink_to(ROOT / name)
    (folder / 'params').mkdir()
    (folder / 'params/models').symlink_to(ROOT / 'params/models')
    for path in (ROOT / 'params').glob('*.yaml'):
        params = (yaml.safe_load(path.read_text()) or {}) | SMALL.get(path.stem, {})
        (folder / 'params' / path.name).write_text(yaml.safe_dump(params, sort_keys=False))
    return folder


def command(project: Path, home: Path, *arguments: str) -> subprocess.Popen:
    env = os.environ | {'FOOTBALL_HOME': str(home), 'FOOTBALL_PROJECT': str(project)}
    return subprocess.Popen(
        [*warm_command(), *arguments],
        text=True,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen) -> str:
    told, errors = process.communicate(timeout=600)
    assert process.returncode == 0, told + errors
    return told


def database(home: Path):
    return open_database(Settings(home=home, database_url=None).database_dsn)


def heads_of(home: Path) -> HeadFile:
    return HeadFile(Settings(home=home, database_url=None).ledger_heads_path)


def rows(home: Path) -> dict[str, int]:
    return {
        name: count for name, count in count_rows(database(home)).items() if name not in HISTORY
    }


def content(home: Path) -> dict[str, list[str]]:
    "Rows of every table but the runs, without the columns that name or time an attempt."
    engine = database(home)
    tables = [
        table
        for name, table in schema.metadata.tables.items()
        if name not in (*HISTORY, 'data_collection_logs')
    ]
    return {table.name: rows_of_any_attempt(engine, table) for table in tables}


def rows_of_any_attempt(engine: Engine, table: Table) -> list[str]:
    """Rows of a table; of events their order, since a number may be left out after a kill.

    Events about heads name their ledger and time: their size alone is compared."""
    frame = read_frame(engine, select(table)).drop(ATTEMPT, strict=False)
    if table is schema.events:
        frame = frame.sort('sequence').with_columns(sequence=pl.int_range(pl.len()))
    texts = []
    for row in frame.iter_rows(named=True):
        if row.get('topic') == 'heads':
            row = {'sequence': row['sequence'], 'size': row['payload']['size']}
        texts.append(str(tuple(row.values())))
    return sorted(texts)


@pytest.fixture(scope='module')
def undisturbed(project, tmp_path_factory):
    home = tmp_path_factory.mktemp('undisturbed')
    told = finish(command(project, home, 'run', 'daily'))
    assert told.count('✓') == 7
    return home


def test_every_forecast_is_sealed_before_kickoff_and_scored(undisturbed):
    engine = database(undisturbed)
    settled = read_settled_forecasts(engine, 'replay')
    assert settled.height == count_rows(engine)['predictions'] > 50
    assert (settled['as_of'] < settled['kickoff']).all()
    assert (settled['as_of'] == parse_datetime('2026-04-01')).all()
    verified = verify_ledger(engine, heads_of(undisturbed))
    assert verified.problems == []


def test_the_bundled_day_is_a_replay_everywhere_and_says_so(project, undisturbed):
    "Its matches were played long ago by the clock of the database."
    engine = database(undisturbed)
    assert read_settled_forecasts(engine).height == 0
    assert read_scoreboard(engine, datetime(2026, 6, 1, tzinfo=UTC)) == []
    counts = count_by_kind(engine)
    sealed = count_rows(engine)['predictions']
    assert counts == {'live': (0, 0), 'replay': (sealed, sealed)}
    told = finish(command(project, undisturbed, 'status'))
    assert 'forecasts: 0 live, 0 of them settled' in told
    assert f'{sealed:,} replays, {sealed:,} of them settled' in told
    checks = {run['job']: run for run in recent_runs(engine)}
    figures = {check['name']: check['value'] for check in checks['predict']['checks']}
    assert (figures['live'], figures['replays']) == (0, sealed)
    figures = {check['name']: check['value'] for check in checks['settle']['checks']}
    assert (figures['live settled in all'], figures['replays settled in all']) == (0, sealed)
    assert 'RPS of the champion (replay)' in figures
    assert 'RPS of the champion' not in figures
    reports = Settings(home=undisturbed).reports_folder
    predicted, settled = [
        (reports / checks[job]['report']).read_text() for job in ('predict', 'settle')
    ]
    assert f'{sealed} forecasts sealed: 0 live, {sealed} replays.' in predicted
    assert 'no live forecast is settled' in settled
    assert 'Latest forecast of each match (replay)' in settled


def test_the_champion_passed_the_gate(undisturbed):
    settings = Settings(home=undisturbed)
    registry = connect_registry(**settings.registry_options)
    assert registry.refresh() == []
    assert registry.versions.table('E0').select('name', 'aliases').rows() == [
        ('E0-goals-only', ['challenger']),
        ('E0-dixon-coles', ['champion']),
    ]
    run = registry.mlflow.client.get_run(find_version(registry.mlflow, 'E0', '1').run_id).data
    assert (settings.reports_folder / run.tags['report']).exists()
    assert run.metrics['rps_high'] < 0  # better than the base rate
    [told] = read_frame(database(undisturbed), select(schema.audit_log))['detail'].to_list()
    assert (told['actor'], told['reason']) == (
        'job train',
        'lowest log loss of 2 candidates, 1.0185; no simpler one ties '
        '(95 % interval, Bonferroni over 1 comparison); as of 2026-04-01 00:00 UTC',
    )


def test_all_matches_after_as_of_are_forecast(undisturbed):
    engine = database(undisturbed)
    table = schema.matches
    coming = read_frame(
        engine, select(table.c.match_id).where(table.c.kickoff > datetime(2026, 4, 1, tzinfo=UTC))
    )
    made = read_frame(engine, select(schema.predictions.c.model, schema.predictions.c.match_id))
    assert sorted(made['model'].unique()) == [
        'E0-dixon-coles',
        'E0-goals-only',
    ]  # champion and challenger
    for (model,), part in made.group_by('model'):
        assert sorted(coming['match_id']) == sorted(part['match_id']), model


def test_reports_are_there(undisturbed):
    settings = Settings(home=undisturbed)
    for run in recent_runs(database(undisturbed)):
        page = (settings.reports_folder / run['report']).read_text()
        assert all(check['passed'] for check in run['checks'])
        assert len(run['checks']) >= 3
        if run['job'] in ('train', 'backtest', 'predict', 'settle'):
            assert 'data:image/png' in page, run['job']
    assert list((settings.reports_folder / 'backtest').glob('*/forecasts.parquet'))


def test_a_second_run_adds_nothing(project, undisturbed):
    before, told = rows(undisturbed), finish(command(project, undisturbed, 'run', 'daily'))
    assert told.count('up to date') == 7
    assert rows(undisturbed) == before


def test_run_again_by_force_adds_no_forecast(project, undisturbed):
    before = rows(undisturbed)
    finish(command(project, undisturbed, 'run', 'daily', '--force'))
    after = rows(undisturbed)
    assert (
        after.pop('data_collection_logs') == before.pop('data_collection_logs') + 3
    )  # Fetched anew, and logged
    assert after == before


@pytest.mark.parametrize('seed', range(4))
def test_killed_at_random_moments_nothing_is_doubled_or_lost(project, undisturbed, tmp_path, seed):
    "Five kills each, twenty in all; then the same tables as without any."
    moments = random.Random(seed)
    for _ in range(5):
        process = command(project, tmp_path, 'run', 'daily')
        try:
            process.wait(moments.uniform(0.3, 6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait(30)
        for stream in (process.stdout, process.stderr):
            stream.close()
    finish(command(project, tmp_path, 'run', 'daily'))
    runs = recent_runs(database(tmp_path))
    assert 'lost' in {run['state'] for run in runs}
    assert 'running' not in {run['state'] for run in runs}
    assert [process for run in runs for process in run['processes'] if find_process(process)] == []
    assert rows(tmp_path) == rows(undisturbed) | {'data_collection_logs': 3}
    expected = content(undisturbed)
    for name, table in content(tmp_path).items():
        assert table == expected[name], name
    assert verify_ledger(database(tmp_path), heads_of(tmp_path)).problems == []
