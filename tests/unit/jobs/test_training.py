"What a training run decides: tasks, problems, verdicts and aliases."

from datetime import UTC, datetime
from types import SimpleNamespace

import polars as pl
import pytest

from football_pred.jobs.training import (
    JudgedModel,
    TrainedModel,
    Trials,
    candidate_task,
    challenger_task,
    find_problem,
    recipe_key,
    register_models,
    register_trained_model,
    train_models,
    training_tasks,
)
from football_pred.models.serialization import new_model
from football_pred.registry.promotion_gate import GateDecision, refuse_promotion
from football_pred.registry.registry import ModelVersion

AS_OF = datetime(2026, 4, 1, tzinfo=UTC)


class RecordingRegistry:
    "Records registrations and aliases; every league may have a challenger."

    def __init__(self, challenger: str | None = None) -> None:
        self.versions = self
        self.calls = []
        self.challenger_version = challenger

    def register(self, league, model, name, trained_on, trial):
        self.calls.append(('register', name))
        return SimpleNamespace(version=f'version of {name}')

    def set_challenger(self, league, version):
        self.calls.append(('challenger', version))
        self.challenger_version = version

    def promote(self, league, version, actor, reason):
        self.calls.append(('champion', version, actor, reason))

    def challenger(self, league):
        version = self.challenger_version
        return SimpleNamespace(version=version) if version else None


def champion(model: str = 'PoissonGoals') -> ModelVersion:
    return ModelVersion('E0-champion', '1f', new_model(model), {}, 'copy', '1')


def judged(task, passed: bool, fitted: bool = True, problem: str = '') -> JudgedModel:
    trained = TrainedModel(
        task, object() if fitted else None, problem, {'as_of': AS_OF.isoformat(), 'matches': 100}
    )
    if problem:
        decision = refuse_promotion(problem)
    else:
        reasons = [] if passed else ['RPS 0.3, expected less']
        decision = GateDecision(passed, pl.DataFrame(), reasons, {})
    return JudgedModel(trained, problem, decision, None)


@pytest.mark.parametrize(
    ('model', 'version', 'name', 'kind', 'benchmark'),
    [
        ('', None, 'E0-dixon-coles', 'DixonColes', 'base rate'),
        ('', champion(), 'E0-champion', 'PoissonGoals', 'E0-champion'),
        ('DixonColes', champion(), 'E0-dixon-coles', 'DixonColes', 'E0-champion'),
    ],
    ids=['first', 'as the champion', 'by name'],
)
def test_candidate_of_a_league(tmp_path, model, version, name, kind, benchmark):
    task = candidate_task('E0', version, model, {}, tmp_path)
    assert (task.name, type(task.estimator).__name__) == (name, kind)
    assert (task.role, task.benchmark_name) == ('candidate', benchmark)


def test_a_challenger_of_the_recipe_of_the_candidate_is_left_out(tmp_path):
    candidate = candidate_task('E0', None, '', {}, tmp_path)
    assert challenger_task(candidate, 'DixonColes', tmp_path) is None
    assert challenger_task(candidate, 'PoissonGoals', tmp_path).role == 'challenger'


def test_candidates_come_before_challengers(tmp_path):
    tasks = training_tasks(['E0', 'D1'], {}, '', {}, 'PoissonGoals', tmp_path)
    assert [(task.role, task.league) for task in tasks] == [
        ('candidate', 'E0'),
        ('candidate', 'D1'),
        ('challenger', 'E0'),
        ('challenger', 'D1'),
    ]


def test_the_first_problem_of_fit_trial_and_benchmark_is_reported(tmp_path):
    task = candidate_task('E0', champion(), 'DixonColes', {}, tmp_path)
    trained = TrainedModel(task, object(), '', {})
    benchmark_failure = {(recipe_key(task.benchmark), 'E0'): 'no maximum'}
    both_failures = benchmark_failure | {(recipe_key(task.estimator), 'E0'): 'flat'}
    assert find_problem(trained, Trials(pl.DataFrame(), {})) == ''
    assert find_problem(trained, Trials(pl.DataFrame(), both_failures)) == 'no trial: flat'
    assert (
        find_problem(trained, Trials(pl.DataFrame(), benchmark_failure))
        == 'no comparison with E0-champion: no maximum'
    )
    unfitted = TrainedModel(task, None, 'no fit: singular', {})
    assert find_problem(unfitted, Trials(pl.DataFrame(), both_failures)) == 'no fit: singular'


def test_a_league_without_results_is_refused(tmp_path):
    history = pl.DataFrame(
        schema={'league': pl.String, 'status': pl.String, 'kickoff': pl.Datetime('us', 'UTC')}
    )
    tasks = training_tasks(['E0'], {}, '', {}, '', tmp_path)
    with pytest.raises(ValueError, match='no result of league E0 is known at 2026-04-01 00:00 UTC'):
        train_models(tasks, history, AS_OF)


@pytest.mark.parametrize(
    ('role', 'passed', 'promote', 'alias', 'verdict'),
    [
        ('candidate', True, True, 'champion', 'champion'),
        ('candidate', True, False, 'challenger', 'passed'),
        ('candidate', False, True, 'challenger', 'refused: RPS 0.3, expected less'),
        ('challenger', True, True, 'challenger', 'passed'),
    ],
)
def test_alias_of_a_model(tmp_path, role, passed, promote, alias, verdict):
    task = candidate_task('E0', None, '', {}, tmp_path)
    if role == 'challenger':
        task = challenger_task(task, 'PoissonGoals', tmp_path)
    registry = RecordingRegistry()
    registered = register_trained_model(registry, judged(task, passed), {}, promote)
    assert registered.verdict == verdict
    assert [call[0] for call in registry.calls] == ['register', alias]
    if alias == 'champion':
        assert registry.calls[-1][2:] == (
            'job train',
            'passed against base rate, as of 2026-04-01 00:00 UTC',
        )


def test_a_model_without_a_fit_is_not_registered(tmp_path):
    task = candidate_task('E0', None, '', {}, tmp_path)
    registry = RecordingRegistry()
    unfitted = judged(task, False, fitted=False, problem='no fit: singular')
    registered = register_trained_model(registry, unfitted, {}, True)
    assert (registered.version, registered.verdict) == ('', 'refused: no fit: singular')
    assert registry.calls == []


def test_a_challenger_that_was_not_trained_is_dropped(tmp_path):
    task = candidate_task('E0', None, '', {}, tmp_path)
    registry = RecordingRegistry(challenger='version of another run')
    register_models(registry, [judged(task, True)], {}, True)
    assert registry.calls[-1] == ('challenger', None)
    registry = RecordingRegistry()
    register_models(registry, [judged(task, False)], {}, True)
    assert registry.challenger_version == 'version of E0-dixon-coles'
