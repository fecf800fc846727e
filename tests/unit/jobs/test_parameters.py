"Every parameter of every job: another value changes something, and a senseless one is refused."

import ast
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from football_pred.core.settings import Settings
from football_pred.ingest.sources import SOURCES
from football_pred.jobs.job_spec import JobError, job_names, load_job, resolve_params
from football_pred.jobs.parameter_values import COMPONENT_NAMES, NUMBERS, VALUE_CHECKS
from football_pred.jobs.production_checks import COMPONENTS
from football_pred.jobs.runner import create_request
from football_pred.jobs.schedule import Project
from tools.house import ROOT

NOW = datetime(2026, 4, 1, tzinfo=UTC)
JOBS = {name: load_job(ROOT, name) for name in job_names(ROOT)}
CHECKS = 'football_pred.reporting.tables_and_checks.run_checks'


@dataclass(frozen=True)
class Case:
    "Another value of a parameter, and where its effect shows."

    job: str
    parameter: str
    value: Any
    shows: str = ''  # expression in the notebook's names
    call: str = ''  # function whose arguments show it; the notebook stops there
    beside: tuple[tuple[str, Any], ...] = ()  # other parameters of both runs


RECORDED = 'as_of of the run'  # the job looks at the present; the moment stands in its row

CASES = [
    Case('collect', 'as_of', '2026-05-01', RECORDED),
    Case('collect', 'source', 'openfootball', call='ingest.collect.collect_payloads'),
    Case('collect', 'leagues', ['E1'], call='ingest.collect.collect_payloads'),
    Case('collect', 'seasons', ['2324'], call='ingest.collect.collect_payloads'),
    Case('collect', 'fixtures', False, call='ingest.collect.collect_payloads'),
    Case('clean', 'as_of', '2026-05-01', call='ingest.quality.quality_metrics'),
    Case('clean', 'leagues', ['E0', 'E1'], call=CHECKS),
    Case('clean', 'seasons', ['2425'], 'quality.height'),
    Case('clean', 'max_reject_share', 0.5, call=CHECKS),
    Case('clean', 'max_unknown_names', 5, call=CHECKS),
    Case('clean', 'max_overdue', 3, call=CHECKS),
    Case('clean', 'max_missing_share', 0.5, call=CHECKS),
    Case('clean', 'max_shrinkage', 0.5, call=CHECKS),
    Case('features', 'as_of', '2026-03-01', call='jobs.feature_building.build_and_serve_features'),
    Case('features', 'leagues', ['E1'], call='jobs.feature_building.build_and_serve_features'),
    Case('features', 'served_days', 30, call='jobs.feature_building.build_and_serve_features'),
    Case('train', 'as_of', '2026-03-01', "history.filter(status='finished').height"),
    Case('train', 'leagues', ['E0', 'E1'], call='jobs.training.plan_training'),
    Case('train', 'model', 'PoissonGoals', '[task.name for task in plan.tasks]'),
    Case(
        'train',
        'arguments',
        {'half_life': 30},
        '[task.estimator for task in plan.tasks]',
        beside=(('model', 'DixonColes'),),
    ),
    Case('train', 'candidates', ['PoissonGoals'], '[task.name for task in plan.tasks]'),
    Case('train', 'use_prices', True, call='jobs.training.plan_training'),
    Case('train', 'promote', False, call='jobs.training.register_models'),
    Case('train', 'part', 'E0', call='jobs.training.run_trials_of_tasks'),
    Case('backtest', 'as_of', '2026-01-01', 'targets.matches.height'),
    Case('backtest', 'leagues', ['E0', 'E1'], call='jobs.backtesting.select_targets'),
    Case('backtest', 'seasons', ['2425', '2526'], 'targets.matches.height'),
    Case(
        'backtest',
        'models',
        {'base rate': {'class': 'BaseRate'}, 'goals': {'class': 'PoissonGoals'}},
        'list(estimators.estimators)',
    ),
    Case('backtest', 'reference', 'short', call='evaluation.scoring.score_table'),
    Case('backtest', 'refit', 'day', call='jobs.backtesting.plan_backtest'),
    Case('backtest', 'part', 'E0 2526', call='jobs.backtesting.run_backtest'),
    Case('predict', 'as_of', '2026-04-20', 'run.forecasts.height'),
    Case('predict', 'leagues', ['E1'], call='jobs.forecasting.forecast_leagues'),
    Case('predict', 'days', 10, 'run.forecasts.height'),
    Case('settle', 'as_of', '2026-06-01', call='forecasts.ledger.settle_forecasts'),
    Case('settle', 'grace_days', 9, call='forecasts.ledger.read_unsettled_matches'),
    Case('simulate', 'as_of', '2026-03-01', call='jobs.simulating.simulate_leagues'),
    Case('simulate', 'leagues', ['E1'], call='jobs.simulating.simulate_leagues'),
    Case('simulate', 'simulations', 50, call='jobs.simulating.simulate_leagues'),
    Case('simulate', 'seed', 1, call='jobs.simulating.simulate_leagues'),
    Case('monitor', 'as_of', '2026-05-01', RECORDED),
    Case('monitor', 'hours', 48, 'round((end - start).total_seconds())'),
    Case('tidy', 'as_of', '2026-05-01', call='jobs.maintenance.delete_old_events'),
    Case('tidy', 'days', 30, call='jobs.maintenance.delete_old_events'),
    Case('tidy', 'months', 3, call='jobs.maintenance.partition_checks'),
    Case('backup', 'as_of', '2026-05-01', RECORDED),
    Case('backup', 'days', 1, call='core.backup.prune_backups'),
    Case('backup', 'weeks', 1, call='core.backup.prune_backups'),
    Case('backup', 'months', 1, call='core.backup.prune_backups'),
    Case('verify', 'as_of', '2026-05-01', RECORDED),
    Case('verify', 'patience', 5.0, call='jobs.production_checks.verify_platform'),
    Case('verify', 'only', ['database'], call='jobs.production_checks.verify_platform'),
]

SMALL = {
    'train': {'candidates': ['DixonColes']},
    'backtest': {
        'models': {'base rate': {'class': 'BaseRate'}, 'short': {'class': 'BaseRate'}},
        'seasons': ['2526'],
    },
    'clean': {'seasons': ['2425', '2526']},
}  # values that make the first run quick

REFUSED = {
    'as_of': ('the 1st of April', 'is not a moment'),
    'source': ('bundeld', "unknown source 'bundeld'; did you mean bundled?"),
    'leagues': (['E0', 'PL'], "unknown league 'PL'"),
    'seasons': (['2525'], "league E0 has no season '2525'"),
    'fixtures': ('yes', 'valid boolean'),
    'max_reject_share': (1.5, 'expected at least 0 and at most 1'),
    'max_unknown_names': (-1, 'expected at least 0'),
    'max_overdue': (-1, 'expected at least 0'),
    'max_missing_share': (-0.1, 'expected at least 0 and at most 1'),
    'max_shrinkage': (2.0, 'expected at least 0 and at most 1'),
    'served_days': (-1, 'expected at least 0'),
    'model': ('DixonColls', "unknown model 'DixonColls'; did you mean DixonColes"),
    'arguments': (
        {'half_lief': 30},
        "DixonColes has no argument 'half_lief'; did you mean half_life",
    ),
    'candidates': (['goals_onyl'], "unknown model 'goals_onyl'; did you mean goals_only"),
    'use_prices': ('yes', 'valid boolean'),
    'promote': (1, 'valid boolean'),
    'part': ('E0 1900', "unknown task 'E0 1900'"),
    'models': ({'plain': {'class': 'DixonColls'}}, "unknown model 'DixonColls'"),
    'reference': ('base rte', "unknown model of the backtest 'base rte'; did you mean base rate?"),
    'refit': ('month', "unknown interval 'month'; known: week, day"),
    'days': (-1, 'expected at least 0'),
    'weeks': (-1, 'expected at least 0'),
    'months': (-1, 'expected at least 0'),
    'grace_days': (-1, 'expected at least 0'),
    'simulations': (0, 'expected at least 1'),
    'seed': (-1, 'expected at least 0'),
    'hours': (0, 'expected at least 1'),
    'patience': (-1.0, 'expected at least 0'),
    'only': (['databse'], "unknown component 'databse'; did you mean database"),
}  # by parameter, since a name means the same in each job: a senseless value, and the message


class Reached(Exception):
    "The notebook has called the function that a case names."


def describe(value: Any) -> str:
    "Plain values as they are, and anything else by its class."
    if isinstance(value, str | int | float | list | dict | tuple | datetime | type(None)):
        return repr(value)
    return type(value).__name__


def statements(job: str):
    "Statements of the code cells of a job, after its parameters."
    for cell in json.loads(JOBS[job].path.read_text())['cells']:
        tags = cell['metadata'].get('tags', ())
        if cell['cell_type'] == 'code' and 'parameters' not in tags:
            yield from ast.parse(''.join(cell['source'])).body


def observe(case: Case, params: dict[str, Any], monkeypatch) -> str:
    "Execute a job as far as its parameter shows, and describe what shows."
    shutil.rmtree(Settings().backups_folder, ignore_errors=True)  # named by their second
    seen = []

    def record(*args, **kwargs):
        seen.append([*map(describe, args), *sorted((k, describe(v)) for k, v in kwargs.items())])
        raise Reached

    if case.call:
        monkeypatch.setattr(f'football_pred.{case.call.removeprefix("football_pred.")}', record)
    names = dict(params)
    wanted = {node.id for node in ast.walk(ast.parse(case.shows)) if isinstance(node, ast.Name)}
    wanted -= {'list', 'round', 'task'}
    with suppress(Reached):
        for statement in statements(case.job):
            module = ast.Module([statement], type_ignores=[])
            exec(compile(module, case.job, 'exec'), names)
            if case.shows and wanted <= names.keys():
                return repr(eval(case.shows, names))
    assert seen, f'{case.job} never calls {case.call}'
    return repr(seen)


@pytest.fixture(scope='module')
def home(served_home, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('parameters') / 'home'
    shutil.copytree(served_home, folder)
    return folder


def values(job: str, overrides: dict[str, Any]) -> dict[str, Any]:
    "Parameters of a run of the bundled data."
    project = Project(ROOT)
    return dict(project.resolve(JOBS[job], SMALL.get(job, {}) | overrides, 'bundled', NOW))


def test_every_parameter_has_a_case():
    "A parameter that is added without one makes this fail."
    parameters = {(job.name, name) for job in JOBS.values() for name in job.parameters}
    assert {(case.job, case.parameter) for case in CASES} == parameters
    assert set(REFUSED) == {name for _, name in parameters}


@pytest.mark.parametrize('case', CASES, ids=lambda case: f'{case.job}-{case.parameter}')
def test_another_value_changes_something(case, home, monkeypatch):
    settings = Settings(home=home)
    monkeypatch.setenv('FOOTBALL_HOME', str(home))
    beside = dict(case.beside)
    before = values(case.job, beside)
    after = values(case.job, beside | {case.parameter: case.value})
    assert before[case.parameter] != case.value
    if case.shows == RECORDED:
        requests = [
            create_request(settings, JOBS[case.job], params, NOW, False)
            for params in (before, after)
        ]
        assert requests[0].row['as_of'] != requests[1].row['as_of']
        return
    first = observe(case, before, monkeypatch)
    assert observe(case, before, monkeypatch) == first
    assert observe(case, after, monkeypatch) != first


@pytest.mark.parametrize(
    ('job', 'parameter'),
    [(job.name, name) for job in JOBS.values() for name in job.parameters],
)
def test_a_senseless_value_is_refused_before_the_kernel_starts(job, parameter):
    value, message = REFUSED[parameter]
    overrides = SMALL.get(job, {}) | {parameter: value}
    if parameter == 'arguments':
        overrides['model'] = 'DixonColes'
    with pytest.raises(JobError) as refused:
        resolve_params(ROOT, JOBS[job], overrides, NOW)
    assert message in str(refused.value)
    assert f'parameter {parameter}' in str(refused.value)


@pytest.mark.parametrize(
    ('job', 'overrides', 'message'),
    [
        ('train', {'arguments': {'half_life': 30}}, 'add -p model NAME, with one of PoissonGoals'),
        (
            'train',
            {'model': 'DixonColes', 'arguments': {'half_life': 'long'}},
            "argument half_life of DixonColes is float | None, got 'long'",
        ),
        (
            'train',
            {'model': 'goals_only', 'arguments': {'ratings': [{'gaols': 1}]}},
            'gaols is not a field of a rating',
        ),
        (
            'backtest',
            {'models': {'a': {'class': 'DixonColes', 'arguments': {'ridge': True}}}},
            'argument ridge of DixonColes is float, got True',
        ),
        ('backtest', {'models': {}}, 'there is no model'),
        ('collect', {'leagues': []}, 'there is no league'),
        ('collect', {'seasons': []}, 'there is no season'),
    ],
)
def test_a_value_that_needs_another_is_refused(job, overrides, message):
    with pytest.raises(JobError) as refused:
        resolve_params(ROOT, JOBS[job], overrides, NOW)
    assert message in str(refused.value)


def test_names_that_are_checked_are_those_that_there_are():
    assert tuple(component.name for component in COMPONENTS) == COMPONENT_NAMES
    parameters = {name for job in JOBS.values() for name in job.parameters}
    assert {*NUMBERS, *VALUE_CHECKS} <= parameters
    source = JOBS['collect'].parameters['source']
    assert source.default in SOURCES
    for name in SOURCES:
        resolve_params(ROOT, JOBS['collect'], {'source': name}, NOW)
