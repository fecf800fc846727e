"What a training run decides: tasks, problems, verdicts and aliases."

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.jobs.products import complexity, list_candidates
from football_pred.jobs.training import (
    CandidateOptions,
    JudgedModel,
    TrainedModel,
    Trials,
    assign_aliases,
    candidate_task,
    choose_in_league,
    find_problem,
    league_tasks,
    plan_training,
    recipe_key,
    register_in_league,
    train_models,
)
from football_pred.models.serialization import new_model
from football_pred.registry.promotion_gate import (
    Candidate,
    GateDecision,
    choose_champion,
    refuse_promotion,
)
from football_pred.registry.registry import ModelVersion
from tools.house import ROOT

AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
PRODUCTS = ROOT / 'params/models'
ALL = CandidateOptions(PRODUCTS)


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


def champion(model: str = 'PoissonGoals', arguments=None) -> ModelVersion:
    return ModelVersion('E0-champion', '1f', new_model(model, arguments, PRODUCTS), {}, 'copy', '1')


def forecasts_of(skill: float, weeks: int = 40) -> pl.DataFrame:
    "Forecasts of five matches a week that lean towards the outcome as far as the skill says."
    dice = np.random.default_rng(7)
    outcomes = dice.integers(0, 3, 5 * weeks)
    noise = dice.normal(0, 0.5, (len(outcomes), 3))
    scores = np.exp(skill * np.eye(3)[outcomes] + noise)
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    return pl.DataFrame(probabilities, schema=['p_home', 'p_draw', 'p_away']).with_columns(
        model=pl.lit('a'),
        match_id=pl.Series([f'E0-{number}' for number in range(len(outcomes))]),
        kickoff=pl.Series([AS_OF + timedelta(days=7 * (i // 5)) for i in range(len(outcomes))]),
        outcome=pl.Series([('home', 'draw', 'away')[code] for code in outcomes]),
    )


def judged(task, passed: bool, problem: str = '', skill: float = 0.5) -> JudgedModel:
    trained_on = {'as_of': AS_OF.isoformat(), 'matches': 100}
    model = None if problem.startswith('no fit') else task.estimator
    trained = TrainedModel(task, model, problem, trained_on)
    if problem:
        return JudgedModel(trained, problem, refuse_promotion(problem), None)
    reasons = [] if passed else ['RPS 0.3, expected less']
    checks = pl.DataFrame({'figure': ['RPS'], 'value': [0.2]})
    return JudgedModel(trained, '', GateDecision(passed, checks, reasons, {}), forecasts_of(skill))


def names(tasks) -> list[str]:
    return [task.name for task in tasks]


def test_every_product_and_dixon_coles_are_candidates():
    tasks = league_tasks('E0', None, ALL)
    assert [task.kind for task in tasks] == list_candidates(PRODUCTS)
    assert {'goals_only', 'goals_plus_shots', 'market_blend'} < {task.kind for task in tasks}
    assert tasks[0].name == 'E0-dixon-coles'
    assert [task.kind for task in tasks if not task.may_serve] == ['market_blend']
    asked = league_tasks('E0', None, ALL._replace(use_prices=True))
    assert all(task.may_serve for task in asked)
    [named] = league_tasks('E0', None, ALL._replace(model='market_blend'))
    assert named.may_serve
    assert league_tasks('E0', champion('market_blend'), ALL)[0].may_serve


def test_the_recipe_of_the_champion_is_tried_too_and_each_recipe_once():
    other = league_tasks('E0', champion(), ALL)
    assert (other[0].name, other[0].is_champion) == ('E0-champion', True)
    assert len(other) == 1 + len(list_candidates(PRODUCTS))
    same = league_tasks('E0', champion('DixonColes'), ALL)
    assert names(same)[0] == 'E0-champion'
    assert 'E0-dixon-coles' not in names(same)


def test_a_named_model_is_tried_against_the_champion_alone():
    options = ALL._replace(model='DixonColes', arguments={'half_life': 30})
    [old, new] = league_tasks('E0', champion(), options)
    assert (old.is_champion, new.is_champion) == (True, False)
    assert new.estimator.half_life == 30
    assert new.name.startswith('E0-dixon-coles-')


def test_arguments_that_change_nothing_make_no_other_name():
    assert candidate_task('E0', 'DixonColes', {'ridge': 6.0}, ALL).name == 'E0-dixon-coles'
    assert candidate_task('E0', 'goals_only', {'half_life': 2500}, ALL).name == 'E0-goals-only'


def test_a_product_that_was_rewritten_has_a_name_apart():
    old = champion('goals_only', {'half_life': 99})
    old = ModelVersion('E0-goals-only', '1f', old.model, {}, 'copy', '1')
    found = names(league_tasks('E0', old, ALL))
    assert len(set(found)) == len(found)
    assert found[0] == 'E0-goals-only'


SIMULATED = sample_matches(sample_strengths(8, seed=1), n_seasons=2, seed=1)
END = SIMULATED['result_known_at'].max()


@pytest.mark.parametrize(
    ('facts', 'skipped'),
    [
        ((), ['goals_plus_shots', 'market_blend', 'prices_of_earlier_matches']),
        (('home_shots_on_target', 'home_corners'), ['market_blend', 'prices_of_earlier_matches']),
        (('closing_home',), ['goals_plus_shots', 'market_blend']),
        (('closing_home', 'opening_home'), ['goals_plus_shots']),
    ],
    ids=['goals', 'shots', 'closing odds', 'odds'],
)
def test_a_product_without_its_facts_is_skipped_by_name(facts, skipped):
    history = SIMULATED.with_columns(pl.lit(2.0).alias(fact) for fact in facts)
    plan = plan_training(['SIM'], {}, ALL, history, END)
    assert [line.split()[0] for line in plan.omissions] == skipped
    assert all(f'{name} skipped for SIM: no ' in ' '.join(plan.omissions) for name in skipped)
    assert not {task.kind for task in plan.tasks} & set(skipped)


def test_facts_that_a_tenth_of_the_trial_has_are_not_enough():
    sparse = pl.when(pl.int_range(pl.len()) % 10 == 0).then(2.0)
    history = SIMULATED.with_columns(closing_home=sparse)
    omissions = plan_training(['SIM'], {}, ALL, history, END).omissions
    assert 'prices_of_earlier_matches skipped for SIM: no closing odds.' in omissions


def test_a_league_whose_data_allow_no_candidate_is_refused():
    options = ALL._replace(model='goals_plus_shots')
    with pytest.raises(ValueError, match='no candidate for league SIM: goals_plus_shots skipped'):
        plan_training(['SIM'], {}, options, SIMULATED, END)


def test_the_first_problem_of_fit_trial_and_benchmark_is_reported():
    task = candidate_task('E0', 'DixonColes', {}, ALL)
    base_rate = new_model('BaseRate')
    trained = TrainedModel(task, object(), '', {})
    benchmark_failure = {(recipe_key(base_rate), 'E0'): 'no maximum'}
    both_failures = benchmark_failure | {(recipe_key(task.estimator), 'E0'): 'flat'}
    assert find_problem(trained, Trials(pl.DataFrame(), {})) == ''
    assert find_problem(trained, Trials(pl.DataFrame(), both_failures)) == 'no trial: flat'
    assert (
        find_problem(trained, Trials(pl.DataFrame(), benchmark_failure))
        == 'no comparison with the base rate: no maximum'
    )
    unfitted = TrainedModel(task, None, 'no fit: singular', {})
    assert find_problem(unfitted, Trials(pl.DataFrame(), both_failures)) == 'no fit: singular'


def test_a_league_without_results_is_refused():
    tasks = league_tasks('E0', None, ALL._replace(names=['BaseRate']))
    history = pl.DataFrame(
        schema={'league': pl.String, 'status': pl.String, 'kickoff': pl.Datetime('us', 'UTC')}
    )
    with pytest.raises(ValueError, match='no result of league E0 is known at 2026-04-01 00:00 UTC'):
        train_models(tasks, history, AS_OF)


def test_a_tie_goes_to_the_simpler_and_a_clear_winner_serves():
    weak = Candidate('weak', (0, 1, 1), forecasts_of(0.2))
    strong = Candidate('strong', (0, 3, 9), forecasts_of(1.5))
    twin = Candidate('twin', (0, 3, 10), forecasts_of(1.5))
    won = choose_champion([weak, strong])
    assert (won.champion, won.challenger) == ('strong', 'weak')
    assert won.reason.startswith('lowest log loss of 2 candidates')
    tied = choose_champion([twin, weak, strong])
    assert (tied.champion, tied.challenger) == ('strong', 'twin')
    assert 'Bonferroni over 2 comparisons' in tied.reason
    assert '97.5 %' in tied.reason
    assert dict(tied.table.select('model', 'verdict').iter_rows())['weak'] == 'worse'


def test_too_few_weeks_decide_nothing():
    weak = Candidate('weak', (0, 1, 1), forecasts_of(0.2, weeks=10))
    strong = Candidate('strong', (0, 3, 9), forecasts_of(1.5, weeks=10))
    assert choose_champion([strong, weak]).champion == 'weak'


def test_simpler_is_said_by_price_facts_and_ratings():
    order = ['DixonColes', 'goals_only', 'goals_plus_shots', 'prices_of_earlier_matches']
    models = [new_model(name, None, PRODUCTS) for name in [*order, 'market_blend']]
    complexities = [complexity(model) for model in models]
    assert complexities == sorted(complexities)
    assert len(set(complexities)) == len(complexities)


PLAIN, GOALS, BLEND = [
    candidate_task('E0', kind, {}, ALL) for kind in ('DixonColes', 'goals_only', 'market_blend')
]
RETRAINED = league_tasks('E0', champion(), ALL._replace(names=['BaseRate']))[0]


def test_a_product_of_prices_serves_only_where_it_is_asked_for():
    models = [judged(PLAIN, True), judged(BLEND, True, skill=2)]
    assert choose_in_league(models).champion == 'E0-dixon-coles'
    asked = candidate_task('E0', 'market_blend', {}, ALL._replace(use_prices=True))
    models = [judged(PLAIN, True), judged(asked, True, skill=2)]
    assert choose_in_league(models).champion == 'E0-market-blend'


@pytest.mark.parametrize(
    ('models', 'promote', 'aliases'),
    [
        (
            [judged(PLAIN, True), judged(GOALS, True, skill=1.5)],
            True,
            {'E0-goals-only': 'champion', 'E0-dixon-coles': 'challenger'},
        ),
        (
            [judged(PLAIN, True), judged(GOALS, False)],
            True,
            {'E0-dixon-coles': 'champion', 'E0-goals-only': 'challenger'},
        ),
        (
            [judged(PLAIN, False), judged(GOALS, False, 'no fit: flat')],
            True,
            {PLAIN.name: 'challenger'},
        ),
        ([judged(PLAIN, True), judged(BLEND, True)], True, {'E0-dixon-coles': 'champion'}),
        ([judged(PLAIN, True)], False, {'E0-dixon-coles': 'challenger'}),
        (
            [judged(RETRAINED, True), judged(GOALS, True)],
            False,
            {'E0-goals-only': 'challenger'},
        ),
        ([judged(PLAIN, False, 'no fit: flat')], True, {}),
    ],
    ids=['best', 'refused', 'none passes', 'prices', 'not promoted', 'own recipe', 'no fit'],
)
def test_aliases_of_a_league(models, promote, aliases):
    choice = choose_in_league(models)
    assert assign_aliases(models, choice, promote) == aliases
    registry = RecordingRegistry(challenger='version of another run')
    registered = register_in_league(registry, models, choice, {}, promote)
    expected = {'champion': None, 'challenger': None} | {
        alias: f'version of {name}' for name, alias in aliases.items()
    }
    assert registry.challenger_version == expected['challenger']
    promoted = [call for call in registry.calls if call[0] == 'champion']
    assert [call[1] for call in promoted] == [expected['champion']] * bool(expected['champion'])
    assert {model.judged.trained.task.name for model in registered if model.version} == set(aliases)
    if promoted:
        assert promoted[0][2] == 'job train'
        assert promoted[0][3] == f'{choice.reason}; as of 2026-04-01 00:00 UTC'
