"What every model promises: the estimator contract, the score grid, the frames it reads, and the simulated league."

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import football_pred
from football_pred.core.sample_league import (
    sample_fixtures,
    sample_matches,
    sample_scores,
    sample_strengths,
)
from football_pred.markets.score_grid import (
    OUTCOMES,
    both_to_score,
    outcome_codes,
    outcome_probabilities,
    score_grid,
)
from football_pred.models.base import GoalModel, SerializableEstimator
from football_pred.models.base_rate import BaseRate
from football_pred.models.dixon_coles import DixonColes
from football_pred.models.feature_model import FeatureModel
from football_pred.models.poisson import PoissonGoals
from football_pred.models.serialization import MODEL_CLASSES
from football_pred.models.stacked_ratings import StackedRatings
from football_pred.ratings.match_arrays import decay_weights, read_training_matches
from tests.support.factories import MODELS as EVERY
from tests.support.factories import with_numbers

SAMPLE = sample_matches(
    sample_strengths(8, n_lower_league=2, seed=3), n_seasons=3, n_promoted=1, n_teams=8, seed=3
)
MATCHES = with_numbers(SAMPLE)
FIXTURES = pl.DataFrame(
    {
        'home_team': ['team_00', 'team_01', 'team_07', 'stranger', 'team_02', 'stranger'],
        'away_team': ['team_01', 'team_00', 'team_09', 'team_03', 'stranger', 'other stranger'],
        'neutral': [False, False, True, False, True, False],
    }
)
MODELS = EVERY | {
    repr(model): model
    for model in (
        DixonColes(half_life=None, ridge=1, newcomer=-0.1),
        PoissonGoals(half_life=None),
        BaseRate(half_life=100),
    )
}


def of_kind(*kinds):
    "Every model of these kinds, one test each."
    some = {name: model for name, model in MODELS.items() if isinstance(model, kinds)}
    return pytest.mark.parametrize('model', some.values(), ids=some)


every_model, goal_model, counting_model = (
    of_kind(SerializableEstimator),
    of_kind(GoalModel),
    of_kind(GoalModel, BaseRate),
)
describing_model = of_kind(
    FeatureModel, StackedRatings
)  # reads seasons and dates, and knows what was known when


@cache
def usual(name):
    return clone(MODELS[name]).fit(MATCHES)


def fitted(model, matches=MATCHES, **options):
    "The model, which has learned from matches; from the usual ones only once."
    names = [name for name, one in MODELS.items() if one is model]
    return (
        usual(names[0])
        if names and matches is MATCHES and not options
        else clone(model).fit(matches, **options)
    )


def test_every_model_is_covered():
    "Whatever has the contract is in the registry, and so in these tests, those of bad input and those of leakage."
    for path in (Path(football_pred.__file__).parent / 'models').glob('*.py'):
        import_module(f'football_pred.models.{path.stem}')

    def kinds(kind):
        return {kind}.union(*map(kinds, kind.__subclasses__()))

    ours = {
        kind
        for kind in kinds(SerializableEstimator)
        if kind.__module__.startswith('football_pred.')
    }
    public = {kind for kind in ours if not kind.__name__.startswith('_')}
    concrete = public - {SerializableEstimator, GoalModel, FeatureModel}
    assert {kind.__name__ for kind in concrete} == {*MODEL_CLASSES, 'OnlineDixonColes'}
    assert concrete == {type(model) for model in EVERY.values()}


# The estimator contract


@every_model
def test_probabilities_are_probabilities(model):
    forecast = fitted(model).predict_proba(FIXTURES)
    assert forecast.shape == (6, 3)
    assert forecast.dtype == np.float64
    assert (forecast > 0).all()
    assert np.abs(forecast.sum(axis=1) - 1).max() < 1e-12


@every_model
def test_constructor_only_stores(model):
    assert not [name for name in vars(clone(model)) if name.endswith('_')]
    assert clone(model).get_params() == model.get_params()
    learner = clone(model)
    assert learner.fit(MATCHES) is learner
    assert all(hasattr(learner, name) for name in learner.fitted_attributes)
    assert not [
        name
        for name in {*learner.fitted_attributes, *vars(learner)} - {*learner.get_params()}
        if not name.endswith('_') and not name.startswith('_')
    ]
    assert learner.get_params() == model.get_params()


@every_model
def test_not_fitted(model):
    with pytest.raises(ValueError, match='not fitted'):
        clone(model).predict_proba(FIXTURES)
    with pytest.raises(ValueError, match='not fitted'):
        clone(model).to_data()


@every_model
def test_through_json_to_the_last_bit(model):
    before = fitted(model)
    data = json.loads(json.dumps(before.to_data(), allow_nan=False))
    after = type(model).from_data(data)
    assert np.array_equal(before.predict_proba(FIXTURES), after.predict_proba(FIXTURES))
    assert after.to_data() == data
    assert after.as_of_ == before.as_of_
    if hasattr(before, 'strengths'):
        assert before.strengths().equals(after.strengths())


@every_model
def test_wrong_data_is_refused(model):
    data = fitted(model).to_data()
    with pytest.raises(ValueError, match="model is 'Other'"):
        type(model).from_data(data | {'model': 'Other'})
    with pytest.raises(ValueError, match='as_of is missing'):
        type(model).from_data({k: v for k, v in data.items() if k != 'as_of'})
    with pytest.raises(ValueError, match='colour is not a parameter'):
        type(model).from_data(data | {'params': {'colour': 1}})


def test_infinite_half_life_is_none():
    data = fitted(DixonColes(half_life=float('inf'))).to_data()
    assert data['params']['half_life'] is None
    assert np.array_equal(
        fitted(DixonColes(half_life=None)).predict_proba(FIXTURES),
        DixonColes.from_data(data).predict_proba(FIXTURES),
    )


@every_model
def test_pandas_gives_the_same(model):
    expected = fitted(model).predict_proba(FIXTURES)
    learner = fitted(model, MATCHES.to_pandas())
    assert np.array_equal(learner.predict_proba(FIXTURES), expected)
    assert np.array_equal(learner.predict_proba(FIXTURES.to_pandas()), expected)
    indexed = (
        MATCHES.to_pandas()
        .set_index(pd.Index(range(1000, 1000 + len(MATCHES))))
        .astype({'home_goals': float})
    )
    assert np.array_equal(fitted(model, indexed).predict_proba(FIXTURES), expected)


@every_model
def test_order_of_matches_does_not_matter(model):
    expected, shuffled = (
        fitted(model),
        fitted(model, MATCHES.sample(fraction=1, shuffle=True, seed=7)),
    )
    if isinstance(model, PoissonGoals):
        assert np.allclose(
            shuffled.predict_proba(FIXTURES), expected.predict_proba(FIXTURES), rtol=0, atol=1e-10
        )
    else:
        assert np.array_equal(shuffled.predict_proba(FIXTURES), expected.predict_proba(FIXTURES))


@every_model
def test_order_and_number_of_fixtures_do_not_matter(model):
    learner = fitted(model)
    many = sample_fixtures([f'team_{i:02d}' for i in range(10)])
    together = learner.predict_proba(many)
    assert np.array_equal(learner.predict_proba(many.reverse()), together[::-1])
    assert np.array_equal(
        np.concatenate([learner.predict_proba(many[i]) for i in range(len(many))]), together
    )
    assert learner.predict_proba(many.head(0)).shape == (0, 3)


@every_model
def test_neutral_venue_mirrors(model):
    learner = fitted(model)
    there = FIXTURES.with_columns(neutral=True)
    back = there.rename({'home_team': 'away_team', 'away_team': 'home_team'})
    assert np.array_equal(learner.predict_proba(back), learner.predict_proba(there)[:, ::-1])


@every_model
def test_neutral_is_optional_and_false(model):
    learner = fitted(model)
    assert np.array_equal(
        learner.predict_proba(FIXTURES.drop('neutral')),
        learner.predict_proba(FIXTURES.with_columns(neutral=False)),
    )
    assert np.array_equal(
        fitted(model, MATCHES.drop('neutral')).predict_proba(FIXTURES),
        learner.predict_proba(FIXTURES),
    )


@every_model
def test_strangers_never_raise(model):
    strangers = pl.DataFrame({'home_team': ['x', 'z'], 'away_team': ['y', 'w']})
    forecast = fitted(model).predict_proba(strangers)
    assert np.array_equal(forecast[0], forecast[1])
    if not isinstance(model, BaseRate):
        assert forecast[0, 0] > forecast[0, 2]


NEEDED = MATCHES.select('away_team', 'kickoff', 'home_goals', 'home_team', 'away_goals')


@describing_model
def test_needed_columns_are_enough(model):
    if getattr(model, 'learn_from', '') != 'closing':
        assert np.isfinite(fitted(model, NEEDED).predict_proba(FIXTURES)).all()
    else:
        with pytest.raises(ValueError, match='closing prices to learn from'):
            fitted(model, NEEDED)


@counting_model
def test_only_needed_columns_are_read(model):
    assert np.array_equal(
        fitted(model, NEEDED).predict_proba(FIXTURES), fitted(model).predict_proba(FIXTURES)
    )


@describing_model
def test_weights_count(model):
    "A match without weight is still part of what was known of the teams, so here a weight of two is not two matches."
    first = pl.int_range(pl.len()) < 60
    weighted, doubled = (
        MATCHES.with_columns(weight=first.cast(pl.Float64)),
        MATCHES.with_columns(weight=pl.when(first).then(1.0).otherwise(2.0)),
    )
    said = [fitted(model, frame).predict_proba(FIXTURES) for frame in (MATCHES, weighted, doubled)]
    assert not np.array_equal(said[0], said[1])
    assert not np.array_equal(said[0], said[2])
    assert not np.array_equal(said[1], said[2])


@counting_model
def test_a_match_of_weight_two_is_two_matches(model):
    twice = pl.concat([MATCHES, MATCHES.head(30)])
    weighted = MATCHES.with_columns(weight=pl.Series([2.0] * 30 + [1.0] * (len(MATCHES) - 30)))
    assert np.allclose(
        fitted(model, twice).predict_proba(FIXTURES),
        fitted(model, weighted).predict_proba(FIXTURES),
        rtol=0,
        atol=1e-8,
    )


@every_model
def test_as_of(model):
    latest = MATCHES['kickoff'].max()
    assert fitted(model).as_of_ == latest
    assert np.array_equal(
        fitted(model, as_of=latest).predict_proba(FIXTURES), fitted(model).predict_proba(FIXTURES)
    )
    assert fitted(model, as_of=latest + timedelta(days=30)).as_of_ == latest + timedelta(days=30)
    with pytest.raises(ValueError, match='after as_of'):
        fitted(model, as_of=latest - timedelta(seconds=1))
    with pytest.raises(ValueError, match='no time zone'):
        fitted(model, as_of=datetime(2030, 1, 1))  # noqa: DTZ001


BAD = {
    'Column away_goals is missing': lambda m: m.drop('away_goals'),
    'Column kickoff is missing': lambda m: m.drop('kickoff'),
    'There are no matches': lambda m: m.head(0),
    'home_goals is empty in row 2': lambda m: m.with_columns(
        home_goals=pl.when(pl.int_range(pl.len()) == 2).then(None).otherwise('home_goals')
    ),
    'away_goals is -3 in row 0': lambda m: m.with_columns(away_goals=pl.lit(-3)),
    'away_goals is 1.5 in row 0': lambda m: m.with_columns(away_goals=pl.lit(1.5)),
    'home_goals has the type': lambda m: m.with_columns(home_goals=pl.lit('2')),
    'home_team is empty in row 1': lambda m: m.with_columns(
        home_team=pl.when(pl.int_range(pl.len()) == 1).then(None).otherwise('home_team')
    ),
    "both 'team_07' in row 0, a team cannot play itself": lambda m: m.filter(
        away_team='team_07'
    ).with_columns(home_team='away_team'),
    'kickoff is empty in row 0': lambda m: m.with_columns(
        kickoff=pl.lit(None, pl.Datetime('us', 'UTC'))
    ),
    'kickoff has the type String': lambda m: m.with_columns(
        kickoff=pl.col('kickoff').cast(pl.String)
    ),
    'weight is -1 in row 0': lambda m: m.with_columns(weight=pl.lit(-1.0)),
    'weight is nan in row 0': lambda m: m.with_columns(weight=pl.lit(float('nan'))),
}


@every_model
@pytest.mark.parametrize('message', BAD)
def test_bad_matches(model, message):
    with pytest.raises(ValueError, match=message.replace('(', r'\(')):
        fitted(model, BAD[message](MATCHES))


@every_model
@pytest.mark.parametrize('half_life', [0, -5, float('-inf'), float('nan')])
def test_bad_half_life(model, half_life):
    with pytest.raises(ValueError, match='half_life is'):
        clone(model).set_params(half_life=half_life).fit(MATCHES)


@every_model
def test_bad_fixtures(model):
    learner = fitted(model)
    with pytest.raises(ValueError, match='Column away_team is missing'):
        learner.predict_proba(FIXTURES.drop('away_team'))
    with pytest.raises(ValueError, match='cannot play itself'):
        learner.predict_proba(FIXTURES.with_columns(away_team='home_team'))


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (DixonColes(ridge=-1), 'ridge is -1'),
        (DixonColes(ridge=float('inf')), 'ridge is inf'),
        (DixonColes(newcomer=float('nan')), 'newcomer is nan'),
        (PoissonGoals(prior_matches=0), 'prior_matches is 0'),
        (BaseRate(prior_matches=-1), 'prior_matches is -1'),
    ],
    ids=repr,
)
def test_bad_parameters(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(MATCHES)


# Goal models


@goal_model
def test_rates_grids_and_outcomes_agree(model):
    learner = fitted(model)
    rates, grid = learner.predict_rates(FIXTURES), learner.predict_grid(FIXTURES)
    assert rates.shape == (6, 2)
    assert grid.shape == (6, 11, 11)
    assert np.abs(grid.sum(axis=(1, 2)) - 1).max() < 1e-9
    assert np.array_equal(learner.predict_proba(FIXTURES), outcome_probabilities(grid))
    assert np.array_equal(grid, score_grid(*rates.T, learner.rho_))
    assert learner.predict_grid(FIXTURES, max_goals=4).shape == (6, 5, 5)
    assert clone(model).set_params(max_goals=6).fit(MATCHES).predict_grid(FIXTURES).shape == (
        6,
        7,
        7,
    )


@goal_model
def test_strengths(model):
    learner = fitted(model)
    strengths = learner.strengths()
    assert strengths.columns[:3] == ['team', 'attack', 'defence']
    assert strengths['team'].to_list() == sorted(set(MATCHES['home_team']))
    assert np.array_equal(strengths['attack'].to_numpy(), learner.attack_)


@goal_model
def test_no_home_advantage_without_home(model):
    "Matches at neutral venues say nothing about home advantage, and strengths do not depend on who is named first."
    neutral = MATCHES.with_columns(neutral=True)
    swapped = neutral.rename(
        {
            'home_team': 'away_team',
            'away_team': 'home_team',
            'home_goals': 'away_goals',
            'away_goals': 'home_goals',
        }
    )
    once, twice = fitted(model, neutral), fitted(model, swapped)
    assert np.allclose(once.attack_, twice.attack_, atol=1e-7)
    assert np.allclose(once.defence_, twice.defence_, atol=1e-7)


def test_the_two_goal_models_agree():
    "Without shrinkage to speak of and with independent goals, regression and tables are the same model."
    reference = PoissonGoals(half_life=200, prior_matches=1e-6).fit(MATCHES)
    tables = DixonColes(half_life=200, ridge=1e-6).fit(MATCHES)
    assert np.allclose(
        reference.predict_rates(FIXTURES[:3]), tables.predict_rates(FIXTURES[:3]), rtol=0.02
    )


def test_poisson_reference_level():
    "A stranger is the average team: no attack and no defence."
    model = fitted(PoissonGoals())
    rates = model.predict_rates(pl.DataFrame({'home_team': ['x'], 'away_team': ['y']}))
    assert np.allclose(rates, np.exp([[model.level_ + model.home_advantage_, model.level_]]))


@goal_model
def test_a_league_of_nil_nil(model):
    nil = MATCHES.with_columns(home_goals=0, away_goals=0)
    forecast = fitted(model, nil).predict_proba(FIXTURES)
    assert (forecast > 0).all()
    assert (forecast[:3, 1] > 0.5).all()


# Base rate


def test_base_rate_counts():
    model = BaseRate(prior_matches=3).fit(MATCHES)
    counts = np.bincount(outcome_codes(MATCHES['home_goals'], MATCHES['away_goals']), minlength=3)
    assert np.allclose(model.probabilities_, (counts + 1) / (len(MATCHES) + 3))


def test_base_rate_at_neutral_venues():
    wins = (
        MATCHES.filter(pl.col('home_goals') > pl.col('away_goals'))
        .head(10)
        .with_columns(neutral=True)
    )
    assert np.allclose(BaseRate().fit(wins).probabilities_, np.array([6, 1, 6]) / 13)


# The score grid

rates = st.floats(0.01, 12)
rhos = st.floats(-2, 2)


@given(rates, rates, rhos, st.integers(1, 14))
@settings(max_examples=200, deadline=None)
def test_grid_is_a_distribution(home_rate, away_rate, rho, max_goals):
    grid = score_grid(home_rate, away_rate, rho, max_goals)
    assert grid.shape == (max_goals + 1, max_goals + 1)
    assert (grid >= 0).all()
    assert abs(grid.sum() - 1) < 1e-9
    assert abs(outcome_probabilities(grid).sum() - 1) < 1e-9
    assert 0 <= both_to_score(grid) <= 1


@given(rates, rates, rhos)
@settings(max_examples=200, deadline=None)
def test_grid_mirrors(home_rate, away_rate, rho):
    there, back = score_grid(home_rate, away_rate, rho), score_grid(away_rate, home_rate, rho)
    assert np.array_equal(there, back.T)
    assert np.array_equal(outcome_probabilities(there), outcome_probabilities(back)[::-1])


@given(st.lists(st.tuples(rates, rates), min_size=1, max_size=20), rhos)
@settings(max_examples=50, deadline=None)
def test_many_grids_are_single_grids(pairs, rho):
    home, away = np.array(pairs).T
    assert np.array_equal(
        score_grid(home, away, rho), np.stack([score_grid(h, a, rho) for h, a in pairs])
    )


@given(rates, rates, st.floats(-0.05, 0.05))
@settings(max_examples=100, deadline=None)
def test_low_scores_keep_their_sum_and_the_margins(home_rate, away_rate, rho):
    independent, dependent = (
        score_grid(home_rate, away_rate, 0, 12),
        score_grid(home_rate, away_rate, rho, 12),
    )
    assert abs(independent[:2, :2].sum() - dependent[:2, :2].sum()) < 1e-12
    assert np.abs(independent.sum(axis=1) - dependent.sum(axis=1)).max() < 1e-12


def test_grid_formula():
    from scipy.stats import poisson

    grid = score_grid(1.7, 0.9, rho=-0.1, max_goals=25)
    expected = np.outer(poisson.pmf(range(26), 1.7), poisson.pmf(range(26), 0.9))
    expected[:2, :2] *= [[1 + 0.1 * 1.7 * 0.9, 1 - 0.1 * 1.7], [1 - 0.1 * 0.9, 1.1]]
    assert np.abs(grid - expected).max() < 1e-15


@pytest.mark.parametrize('rate', [0, -1, float('nan'), float('inf'), 1e5])
def test_grid_refuses_rates(rate):
    with pytest.raises(ValueError, match='home_rate is'):
        score_grid(rate, 1.0)
    with pytest.raises(ValueError, match=r'away_rate is .* for fixture 1'):
        score_grid(np.array([1.0, 1.0]), np.array([1.0, rate]))


def test_grid_refuses_shapes():
    with pytest.raises(ValueError, match='shape'):
        score_grid(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match='max_goals is 0'):
        score_grid(1.0, 1.0, max_goals=0)
    with pytest.raises(ValueError, match='rho is nan'):
        score_grid(1.0, 1.0, rho=float('nan'))


def test_outcome_codes():
    assert OUTCOMES == ('home', 'draw', 'away')
    assert outcome_codes(pl.Series([3, 0]), np.array([1, 0])).tolist() == [0, 1]
    for bad, message in (
        ([None, 1], 'type'),
        ([1.5, 1], '1.5'),
        ([-1, 1], '-1'),
        (['a', 'b'], 'type'),
        ([float('nan'), 1.0], 'empty'),
    ):
        with pytest.raises(ValueError, match=f'away_goals .*{message}'):
            outcome_codes([1, 1], bad)
    with pytest.raises(ValueError, match='shape'):
        outcome_codes([1], [1, 2])


# Reading


def test_kickoff_types_agree():
    expected = read_training_matches(MATCHES).age
    for dtype in (pl.Datetime('ns', 'UTC'), pl.Datetime('ms', 'Europe/London'), pl.Datetime('us')):
        zone = (
            pl.col('kickoff').dt.convert_time_zone(dtype.time_zone)
            if dtype.time_zone
            else pl.col('kickoff').dt.replace_time_zone(None)
        )
        frame = MATCHES.with_columns(kickoff=zone.dt.cast_time_unit(dtype.time_unit))
        assert frame.schema['kickoff'] == dtype
        assert np.allclose(read_training_matches(frame).age, expected)
    days = read_training_matches(MATCHES.with_columns(kickoff='date')).age
    assert (days == np.round(days)).all()


def test_many_teams():
    "More teams than fit into one byte, and a stranger."
    home = [f'club {i}' for i in range(300)]
    matches = pl.DataFrame(
        {
            'home_team': home,
            'away_team': home[1:] + home[:1],
            'home_goals': [i % 4 for i in range(300)],
            'away_goals': 1,
            'kickoff': datetime(2025, 1, 1, tzinfo=UTC),
        }
    )
    model = DixonColes().fit(matches)
    rates = model.predict_rates(
        pl.DataFrame({'home_team': ['club 299', 'stranger'], 'away_team': ['club 0', 'club 256']})
    )
    names = model.teams_
    first = (
        model.level_
        + model.home_advantage_
        + model.attack_[names.index('club 299')]
        - model.defence_[names.index('club 0')]
    )
    assert rates[0, 0] == pytest.approx(np.exp(first))
    assert rates[1, 1] == pytest.approx(
        np.exp(model.level_ + model.attack_[names.index('club 256')] - model.unseen_)
    )


def test_plain_dictionary_and_categories():
    columns = ('home_team', 'away_team', 'home_goals', 'away_goals', 'kickoff')
    expected = DixonColes().fit(MATCHES).predict_proba(FIXTURES)
    assert np.array_equal(
        DixonColes()
        .fit({name: MATCHES[name].to_list() for name in columns})
        .predict_proba(FIXTURES),
        expected,
    )
    categories = MATCHES.to_pandas().astype({'home_team': 'category', 'away_team': 'category'})
    assert np.array_equal(DixonColes().fit(categories).predict_proba(FIXTURES), expected)


def test_decay():
    assert decay_weights(np.array([0.0, 10.0, 20.0]), 10).tolist() == [1, 0.5, 0.25]
    assert (decay_weights(np.arange(5), None) == 1).all()


# The simulated league


def test_sample_has_every_column():
    assert SAMPLE.columns == [
        'match_id',
        'league',
        'season',
        'kickoff',
        'kickoff_known',
        'date',
        'home_team',
        'away_team',
        'neutral',
        'status',
        'home_goals',
        'away_goals',
        'result_known_at',
    ]
    assert SAMPLE.schema['kickoff'] == pl.Datetime('us', 'UTC')
    assert SAMPLE.schema == sample_fixtures(['a', 'b']).schema
    assert SAMPLE['match_id'].is_unique().all()
    assert SAMPLE.equals(SAMPLE.sort('kickoff', 'match_id'))
    assert set(SAMPLE['status']) == {'finished'}
    assert (SAMPLE['result_known_at'] > SAMPLE['kickoff']).all()


@pytest.mark.parametrize('n_teams', [2, 3, 5, 8, 20])
def test_sample_season_is_a_double_round_robin(n_teams):
    season = sample_fixtures([f't{i}' for i in range(n_teams)], start_year=2030)
    assert (
        season.select('home_team', 'away_team').n_unique() == len(season) == n_teams * (n_teams - 1)
    )
    assert season.group_by('home_team').len()['len'].unique().to_list() == [n_teams - 1]
    week = pl.col('kickoff').dt.truncate('1w')
    both = pl.concat([season.select(week, team='home_team'), season.select(week, team='away_team')])
    assert (
        both.is_unique().all() or n_teams == 20
    )  # nobody twice a week; Monday's match of a large league counts to the next


def test_sample_is_reproducible_and_promotes():
    again = sample_matches(
        sample_strengths(8, n_lower_league=2, seed=3), n_seasons=3, n_promoted=1, n_teams=8, seed=3
    )
    assert again.equals(SAMPLE)
    first, second = (set(SAMPLE.filter(season=season)['home_team']) for season in ('2122', '2223'))
    assert len(first - second) == len(second - first) == 1
    assert (
        sample_matches(seed=1)['home_goals'].to_list()
        != sample_matches(seed=2)['home_goals'].to_list()
    )
    assert SAMPLE['kickoff'].min() > datetime(2021, 8, 1, tzinfo=UTC)


def test_sample_scores_have_the_dependence():
    home_goals, away_goals = sample_scores(
        np.full(100_000, 1.3), np.full(100_000, 1.1), -0.15, np.random.default_rng(0)
    )
    grid = score_grid(1.3, 1.1, -0.15)
    for score in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 1)):
        assert (
            abs(((home_goals == score[0]) & (away_goals == score[1])).mean() - grid[score]) < 0.004
        )
