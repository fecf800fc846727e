"""Bad input to every model of the registry and of params/models: sane probabilities or an error that says why."""
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.base import clone

from football_pred.models import CLASSES, new_model
from tests.made import two_divisions, with_numbers

ROOT = Path(__file__).parents[1]
MATCHES = two_divisions(n_teams=6, n_seasons=2).filter(pl.col('league') != 'SIM')
LATER = MATCHES['result_known_at'].max() + timedelta(days=1)
WRITTEN = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT/'params/models').glob('*.yaml'))}
MODELS = {name: new_model(name) for name in CLASSES} | {name: new_model(one['class'], one.get('arguments')) for name, one in WRITTEN.items()}
every_model = pytest.mark.parametrize('name', MODELS)
ASKED = pl.DataFrame({
    'home_team': ['upper 1', 'nobody', 'upper 2', 'lower 0', 'upper 3'], 'away_team': ['upper 2', 'no one', 'nobody', 'upper 1', 'upper 4'],
    'league': ['E0', 'E0', 'E1', 'E0', 'N1'], 'season': ['2324']*5, 'neutral': [False, False, True, False, False]})


def even(**goals):
    "Other goals in every match."
    return lambda matches: matches.with_columns(pl.lit(value).alias(name) for name, value in goals.items())


def one_row(**values):
    "Other values in the last match."
    last = pl.int_range(pl.len()) == pl.len() - 1
    return lambda matches: matches.with_columns(pl.when(last).then(pl.lit(value)).otherwise(name).alias(name) for name, value in values.items())


ODD = {
    'one team at home': lambda m: m.filter(pl.col('home_team') == 'upper 1'),
    'three matches': lambda m: m.filter(pl.col('opening_home').is_not_null()).head(3),
    'no draws': lambda m: m.filter(pl.col('home_goals') != pl.col('away_goals')),
    'nil-nil throughout': even(home_goals=0, away_goals=0),
    'always 3-0': even(home_goals=3, away_goals=0),
    'a 10-0': one_row(home_goals=10, away_goals=0),
    'duplicates': lambda m: pl.concat([m, m.head(40)]),
    'no shots': lambda m: m.with_columns(pl.lit(None, pl.Int64).alias(name) for name in m.columns if 'shots' in name or 'corners' in name),
    'shots not a number': lambda m: m.with_columns(home_shots=pl.lit(float('nan')), home_corners=pl.lit(float('nan'))),
    'shots nil': lambda m: m.with_columns(pl.lit(0).alias(name) for name in m.columns if 'shots' in name or 'corners' in name),
    'columns absent': lambda m: m.drop([name for name in m.columns if 'shots' in name or 'corners' in name or name.startswith('opening')]),
    'a club that changed division twice': lambda m: with_numbers(pl.concat([m, m.with_columns(
        pl.col('kickoff', 'result_known_at') + timedelta(days=730),
        pl.col('home_team', 'away_team').replace({'upper 0': 'lower 0', 'lower 0': 'upper 0'}),
        season=pl.lit('2526'), match_id='more ' + pl.col('match_id'))])),
}


@every_model
@pytest.mark.parametrize('odd', ODD)
def test_odd_matches_give_sane_probabilities(name, odd):
    matches = ODD[odd](MATCHES)
    model = clone(MODELS[name]).fit(matches, matches['result_known_at'].max() + timedelta(days=1))
    said = model.predict_proba(ASKED)
    assert said.shape == (5, 3)
    assert np.isfinite(said).all()
    assert (said > 0).all()
    assert (said < 1).all()
    assert np.abs(said.sum(axis=1) - 1).max() < 1e-9
    if hasattr(model, 'predict_grid'): assert np.abs(model.predict_grid(ASKED).sum(axis=(1, 2)) - 1).max() < 1e-9


@every_model
def test_weights_all_zero(name):
    if name == 'BaseRate': return  # then only the imagined matches count
    nothing = MATCHES.with_columns(weight=pl.lit(0.0))
    with pytest.raises(ValueError, match=r'weights of the .* matches sum to 0'): clone(MODELS[name]).fit(nothing, LATER)


@pytest.mark.parametrize('half_life', [0, -5, float('nan'), float('-inf')])
@every_model
def test_bad_half_life(name, half_life):
    model = clone(MODELS[name])
    if hasattr(model, 'half_life'): model.set_params(half_life=half_life)
    else: model.set_params(ratings=[{'goals': 1, 'half_life': half_life}])
    with pytest.raises(ValueError, match='half_life is'): model.fit(MATCHES, LATER)


def test_endless_half_life():
    for value in (None, float('inf')):
        model = new_model('StagedModel', {'ratings': [{'goals': 1, 'half_life': value}]}).fit(MATCHES, LATER)
        assert np.isfinite(model.predict_proba(ASKED)).all()


@pytest.mark.parametrize('name', [name for name, model in MODELS.items() if getattr(model, 'learn_from', '') == 'closing'])
def test_no_prices_to_learn_from(name):
    with pytest.raises(ValueError, match='closing prices to learn from'):
        clone(MODELS[name]).fit(MATCHES.drop('closing_home', 'closing_draw', 'closing_away'), LATER)


def test_a_price_is_used_only_when_it_was_known():
    model = clone(MODELS['market_blend']).fit(MATCHES, LATER)
    asked = ASKED.head(1).with_columns(opening_home=pl.lit(6.0), opening_draw=pl.lit(4.0), opening_away=pl.lit(1.5), as_of=pl.lit(LATER))
    known, unknown = (asked.with_columns(opening_known_at=pl.lit(LATER + timedelta(hours=hours))) for hours in (-1, 1))
    plain = model.predict_proba(ASKED.head(1))
    assert np.array_equal(model.predict_proba(unknown), plain)
    assert model.predict_proba(known)[0, 2] > 0.5
    with pytest.raises(ValueError, match='decimal prices above 1'): model.predict_proba(known.with_columns(opening_home=pl.lit(0.5)))


def test_a_fixture_without_its_league():
    model = clone(MODELS['goals_only']).fit(MATCHES, LATER)
    with pytest.raises(ValueError, match='Column league is missing; the model knows the leagues E0, E1'): model.predict_proba(ASKED.drop('league'))
    alone = clone(MODELS['goals_only']).fit(MATCHES.filter(league='E0'), LATER)
    asked = ASKED.filter(league='E0')
    assert np.array_equal(alone.predict_proba(asked.drop('league')), alone.predict_proba(asked))


def test_a_promoted_club_is_known_from_below():
    "What it did below counts, and the fixture alone says that it went up."
    model = clone(MODELS['goals_only']).fit(MATCHES, datetime(2030, 1, 1, tzinfo=UTC))
    club = pl.DataFrame({'home_team': ['lower 1', 'nobody'], 'away_team': ['upper 1', 'upper 1'], 'league': ['E0', 'E0']})
    said = model.predict_proba(club)
    assert not np.array_equal(said[0], said[1])
