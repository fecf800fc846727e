"""Leagues that make no sense: every model of the registry and of params/models says something sane about them, or why it cannot."""
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from football_pred.models import CLASSES, new_model
from tests.made import division, two_divisions, with_numbers

ROOT = Path(__file__).parents[1]
WRITTEN = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT/'params/models').glob('*.yaml'))}
MODELS = {name: (name, {}) for name in CLASSES} | {name: (one['class'], one.get('arguments') or {}) for name, one in WRITTEN.items()}
every_model = pytest.mark.parametrize('name', MODELS)

MATCHES = with_numbers(division('E0', 6, 2, [f'club {i}' for i in range(6)], seed=4)).with_columns(weight=pl.lit(1.0))
AS_OF = datetime(2030, 1, 1, tzinfo=UTC)
FIXTURES = pl.DataFrame({'home_team': ['club 0', 'club 1', 'stranger', 'stranger', 'club 2'],
                         'away_team': ['club 1', 'stranger', 'club 2', 'other stranger', 'club 3'],
                         'neutral': [False, False, False, False, True]}).with_columns(league=pl.lit('E0'), season=pl.lit('2930'))
DECIDED = pl.when(pl.col('home_goals') == pl.col('away_goals')).then(pl.col('home_goals') + 1).otherwise('home_goals')
SHOTS = [f'{side}_{name}' for side in ('home', 'away') for name in ('shots', 'shots_on_target', 'corners')]
FIRST = pl.int_range(pl.len()) == 5


def moved_twice():
    "A club that goes down and comes up again."
    frame = two_divisions(6, 3, seed=1).filter(pl.col('league') != 'SIM').with_columns(weight=pl.lit(1.0))
    return frame.with_columns(pl.col('home_team', 'away_team').replace({'upper 0': 'club 0', 'upper 1': 'club 1'}))


LEAGUES = {
    'three matches': MATCHES.head(3), 'one match': MATCHES.head(1),
    'no draws ever': MATCHES.with_columns(home_goals=DECIDED),
    'only draws': MATCHES.with_columns(away_goals='home_goals'),
    'home wins only': MATCHES.with_columns(home_goals=pl.lit(2, pl.Int64), away_goals=pl.lit(1, pl.Int64)),
    'nil nil throughout': MATCHES.with_columns(home_goals=pl.lit(0, pl.Int64), away_goals=pl.lit(0, pl.Int64)),
    'ten nil': MATCHES.with_columns(home_goals=pl.when(FIRST).then(10).otherwise('home_goals'),
                                    away_goals=pl.when(FIRST).then(0).otherwise('away_goals')),
    'every match twice': pl.concat([MATCHES, MATCHES]),
    'nan shots': MATCHES.with_columns(pl.lit(float('nan')).alias(name) for name in SHOTS),
    'empty shots': MATCHES.with_columns(pl.lit(None, pl.Float64).alias(name) for name in SHOTS),
    'moved twice': moved_twice(),
    'weights all zero': MATCHES.with_columns(weight=pl.lit(0.0)),
    'one weight': MATCHES.with_columns(weight=FIRST.cast(pl.Float64)),
    'huge weights': MATCHES.with_columns(weight=pl.lit(1e6)),
}
MUST_FORECAST = {'no draws ever', 'ten nil', 'every match twice', 'nan shots', 'empty shots', 'moved twice', 'nil nil throughout', 'three matches'}


def sane(name, matches, **changes):
    "Whether the model forecasts sane probabilities; False where it says why it cannot."
    kind, arguments = MODELS[name]
    try: said = new_model(kind, arguments | changes).fit(matches, AS_OF).predict_proba(FIXTURES)
    except np.linalg.LinAlgError: raise AssertionError('A singular matrix says nothing about the league') from None
    except ValueError as error: return len(str(error)) < 20 and pytest.fail(f'{error} does not say why')
    assert said.shape == (FIXTURES.height, 3)
    assert ((said > 0) & (said < 1)).all(), said
    assert np.abs(said.sum(axis=1) - 1).max() < 1e-9
    return True


@every_model
@pytest.mark.parametrize('league', LEAGUES)
@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_league(name, league): assert sane(name, LEAGUES[league]) or league not in MUST_FORECAST


@every_model
def test_a_league_with_one_team_is_refused(name):
    alone = MATCHES.with_columns(away_team='home_team')
    with pytest.raises(ValueError, match=r"'club .' in row 0, a team cannot play itself"): new_model(*MODELS[name]).fit(alone, AS_OF)


@every_model
def test_no_match_is_refused(name):
    with pytest.raises(ValueError, match='no matches'): new_model(*MODELS[name]).fit(MATCHES.head(0), AS_OF)


@every_model
@pytest.mark.parametrize('goals', [-1, None])
def test_goals_that_are_none_are_refused(name, goals):
    wrong = MATCHES.with_columns(home_goals=pl.when(FIRST).then(goals).otherwise('home_goals'))
    with pytest.raises(ValueError, match='home_goals is'): new_model(*MODELS[name]).fit(wrong, AS_OF)


@every_model
@pytest.mark.parametrize('weight', [-1.0, float('nan'), float('inf')])
def test_weights_that_are_none_are_refused(name, weight):
    wrong = MATCHES.with_columns(weight=pl.when(FIRST).then(weight).otherwise('weight'))
    with pytest.raises(ValueError, match='weight is'): new_model(*MODELS[name]).fit(wrong, AS_OF)


def half_life_of(name, half_life):
    "The arguments of a model with another half-life in all its ratings."
    kind, arguments = MODELS[name]
    if kind != 'StagedModel': return {'half_life': half_life}
    ratings = arguments.get('ratings', new_model(kind).ratings)
    return {'ratings': [{**rating, 'half_life': half_life} for rating in ratings]}


@every_model
@pytest.mark.parametrize('half_life', [0, -200, float('nan')])
def test_half_life_that_is_none_is_refused(name, half_life):
    kind, arguments = MODELS[name]
    with pytest.raises(ValueError, match=f'half_life is {half_life}'): new_model(kind, arguments | half_life_of(name, half_life)).fit(MATCHES, AS_OF)


@every_model
@pytest.mark.parametrize('half_life', [float('inf'), None, 1e-3])
def test_half_life_without_end_or_nearly_nothing(name, half_life):
    assert sane(name, MATCHES, **half_life_of(name, half_life)) or half_life == 1e-3


@every_model
def test_result_known_before_kickoff_is_not_swallowed(name):
    early = MATCHES.with_columns(result_known_at=pl.when(FIRST).then(pl.col('kickoff') - timedelta(days=1)).otherwise('result_known_at'))
    sane(name, early)
