"""Bad input to every model: sane probabilities, or an error that says why; never something that is no number, never a silent default."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

from football_pred.models.base import walks_forward
from football_pred.models.feature_model import FeatureModel
from football_pred.models.serialization import new_model
from tests.support.factories import MODELS, two_divisions, with_numbers

every_model = pytest.mark.parametrize('name', MODELS)
MATCHES = (
    two_divisions(n_teams=6, n_seasons=2)
    .filter(pl.col('league') != 'SIM')
    .with_columns(weight=pl.lit(1.0))
)
LATER = datetime(2030, 1, 1, tzinfo=UTC)
SOON = MATCHES['result_known_at'].max() + timedelta(days=1)
FIXTURES = pl.DataFrame(
    {
        'home_team': ['upper 1', 'nobody', 'upper 2', 'lower 0', 'upper 3', 'nobody', 'upper 4'],
        'away_team': ['upper 2', 'no one', 'nobody', 'upper 1', 'upper 4', 'upper 1', 'upper 1'],
        'league': ['E0', 'E0', 'E1', 'E0', 'N1', 'E0', 'E0'],
        'season': ['2324'] * 6 + ['2930'],
        'neutral': [False, False, True, False, False, False, True],
    }
)


def even(**goals):
    "Other goals in every match."
    return lambda matches: matches.with_columns(
        pl.lit(value, pl.Int64).alias(name) for name, value in goals.items()
    )


def one_row(row, **values):
    "Other values in one match."
    there = pl.int_range(pl.len()) == row % MATCHES.height
    return lambda matches: matches.with_columns(
        pl.when(there).then(pl.lit(value)).otherwise(name).alias(name)
        for name, value in values.items()
    )


def watched(value, *words):
    "Another value in every column of shots and corners, or in those with these words."
    words = words or ('shots', 'corners')
    return lambda matches: matches.with_columns(
        value.alias(name) for name in matches.columns if any(word in name for word in words)
    )


def moved_twice(matches):
    "A club that goes down and comes up again."
    more = matches.with_columns(
        pl.col('kickoff', 'result_known_at') + timedelta(days=730),
        pl.col('home_team', 'away_team').replace({'upper 0': 'lower 0', 'lower 0': 'upper 0'}),
        season=pl.lit('2526'),
        match_id='more ' + pl.col('match_id'),
    )
    return with_numbers(pl.concat([matches, more]))


NOTHING = pl.lit(None, pl.Float64)
ODD = {
    'one team at home': lambda m: m.filter(home_team='upper 1'),
    'one match': lambda m: m.filter(pl.col('opening_home').is_not_null()).head(1),
    'three matches': lambda m: m.filter(pl.col('opening_home').is_not_null()).head(3),
    'no draws ever': lambda m: m.with_columns(
        home_goals=pl.col('home_goals') + (pl.col('home_goals') == pl.col('away_goals'))
    ),
    'draws left out': lambda m: m.filter(pl.col('home_goals') != pl.col('away_goals')),
    'only draws': lambda m: m.with_columns(away_goals='home_goals'),
    'always 2-1': even(home_goals=2, away_goals=1),
    'always 3-0': even(home_goals=3, away_goals=0),
    'nil nil throughout': even(home_goals=0, away_goals=0),
    'a 10-0': one_row(5, home_goals=10, away_goals=0),
    'a 10-0 in the last match': one_row(-1, home_goals=10, away_goals=0),
    'every match twice': lambda m: pl.concat([m, m]),
    'some matches twice': lambda m: pl.concat([m, m.head(40)]),
    'nan shots': watched(pl.lit(float('nan'))),
    'some nan shots': watched(pl.lit(float('nan')), 'home_shots', 'home_corners'),
    'empty shots': watched(NOTHING),
    'empty shots that would be whole': watched(NOTHING.cast(pl.Int64)),
    'nil shots': watched(pl.lit(0)),
    'columns absent': lambda m: m.drop(
        [
            name
            for name in m.columns
            if 'shots' in name or 'corners' in name or name.startswith('opening')
        ]
    ),
    'moved twice': moved_twice,
    'three seasons with moves': lambda m: two_divisions(6, 3, seed=1).filter(
        pl.col('league') != 'SIM'
    ),
    'one weight': lambda m: m.with_columns(weight=(pl.int_range(pl.len()) == 5).cast(pl.Float64)),
    'huge weights': lambda m: m.with_columns(weight=pl.lit(1e6)),
    'a result known before its kick-off': lambda m: one_row(
        5, result_known_at=m['kickoff'][5] - timedelta(days=1)
    )(m),
}


REFUSED = {  # by models of a kind, with the reason
    'huge weights': ('walk', 'No maximum after 60 steps for 12 clubs, .* a larger ridge helps'),
    'a result known before its kick-off': (
        'teams_',
        'Match .*: result_known_at is not after kickoff',
    ),
}


def check(model, matches, as_of):
    "The model learns from these and forecasts sane probabilities."
    said = model.fit(matches, as_of).predict_proba(FIXTURES)
    assert said.shape == (FIXTURES.height, 3)
    assert ((said > 0) & (said < 1)).all(), said
    assert np.abs(said.sum(axis=1) - 1).max() < 1e-9
    if hasattr(model, 'predict_grid'):
        assert np.abs(model.predict_grid(FIXTURES).sum(axis=(1, 2)) - 1).max() < 1e-9


@every_model
@pytest.mark.parametrize('odd', ODD)
@pytest.mark.parametrize('as_of', ['soon', 'much later'])
@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_odd_matches_give_sane_probabilities(name, odd, as_of):
    matches, model = ODD[odd](MATCHES), clone(MODELS[name])
    moment = (
        LATER if as_of == 'much later' else matches['result_known_at'].max() + timedelta(days=1)
    )
    kind, why = REFUSED.get(odd, (None, ''))
    if (kind == 'walk' and walks_forward(model)) or (
        kind == 'teams_' and isinstance(model, FeatureModel)
    ):
        with pytest.raises(ValueError, match=why):
            model.fit(matches, moment)
    else:
        check(model, matches, moment)


WRONG = {
    'no matches': (lambda m: m.head(0), 'no matches'),
    'a league of one team': (
        lambda m: m.with_columns(away_team='home_team'),
        r"'(upper|lower) .' in row 0, a team cannot play itself",
    ),
    'negative goals': (one_row(5, home_goals=-1), 'home_goals is -1'),
    'empty goals': (one_row(5, home_goals=None), 'home_goals is empty'),
    'negative weight': (one_row(5, weight=-1.0), 'weight is -1'),
    'nan weight': (one_row(5, weight=float('nan')), 'weight is nan'),
    'infinite weight': (one_row(5, weight=float('inf')), 'weight is inf'),
}


@every_model
@pytest.mark.parametrize('wrong', WRONG)
def test_wrong_matches_are_refused(name, wrong):
    change, why = WRONG[wrong]
    with pytest.raises(ValueError, match=why):
        clone(MODELS[name]).fit(change(MATCHES), LATER)


@every_model
def test_weights_all_zero(name):
    nothing = MATCHES.with_columns(weight=pl.lit(0.0))
    with pytest.raises(ValueError, match=r'The weights of .* sum to 0; check weight'):
        clone(MODELS[name]).fit(nothing, LATER)


def with_half_life(name, half_life):
    "The model with another half-life in all that it has."
    model = clone(MODELS[name])
    if not hasattr(model, 'ratings'):
        return model.set_params(half_life=half_life)
    return model.set_params(ratings=[rating | {'half_life': half_life} for rating in model.ratings])


@every_model
@pytest.mark.parametrize('half_life', [0, -200, float('nan'), float('-inf')])
def test_half_life_that_is_none_is_refused(name, half_life):
    with pytest.raises(ValueError, match=f'half_life is {half_life}'):
        with_half_life(name, half_life).fit(MATCHES, LATER)


@every_model
@pytest.mark.parametrize('half_life', [float('inf'), None, 100.0])
def test_half_life_without_end(name, half_life):
    check(with_half_life(name, half_life), MATCHES, LATER)


@every_model
def test_half_life_of_next_to_nothing(name):
    "No match is left to learn from; but the second stage learns what ratings that forget everything are worth."
    model = with_half_life(name, 1e-3)
    if hasattr(model, 'ratings'):
        check(model, MATCHES, LATER)
    else:
        with pytest.raises(
            ValueError, match=r'The weights of .* sum to 0; check weight and half_life'
        ):
            model.fit(MATCHES, LATER)


def test_endless_half_life():
    for value in (None, float('inf')):
        check(
            new_model('StackedRatings', {'ratings': [{'goals': 1, 'half_life': value}]}),
            MATCHES,
            SOON,
        )


@pytest.mark.parametrize(
    'name',
    [name for name, model in MODELS.items() if getattr(model, 'learn_from', '') == 'closing'],
)
def test_no_prices_to_learn_from(name):
    with pytest.raises(ValueError, match='closing prices to learn from'):
        clone(MODELS[name]).fit(MATCHES.drop('closing_home', 'closing_draw', 'closing_away'), SOON)


def test_a_price_is_used_only_when_it_was_known():
    model = clone(MODELS['market_blend']).fit(MATCHES, SOON)
    asked = FIXTURES.head(1).with_columns(
        opening_home=pl.lit(6.0),
        opening_draw=pl.lit(4.0),
        opening_away=pl.lit(1.5),
        as_of=pl.lit(SOON),
    )
    known, unknown = (
        asked.with_columns(opening_known_at=pl.lit(SOON + timedelta(hours=hours)))
        for hours in (-1, 1)
    )
    plain = model.predict_proba(FIXTURES.head(1))
    assert np.array_equal(model.predict_proba(unknown), plain)
    assert model.predict_proba(known)[0, 2] > 0.5
    with pytest.raises(ValueError, match='decimal prices above 1'):
        model.predict_proba(known.with_columns(opening_home=pl.lit(0.5)))


def test_a_fixture_without_its_league():
    model = clone(MODELS['goals_only']).fit(MATCHES, SOON)
    with pytest.raises(
        ValueError, match='Column league is missing; the model knows the leagues E0, E1'
    ):
        model.predict_proba(FIXTURES.drop('league'))
    alone = clone(MODELS['goals_only']).fit(MATCHES.filter(league='E0'), SOON)
    asked = FIXTURES.filter(league='E0')
    assert np.array_equal(alone.predict_proba(asked.drop('league')), alone.predict_proba(asked))


def test_a_promoted_club_is_known_from_below():
    "What it did below counts, and the fixture alone says that it went up."
    model = clone(MODELS['goals_only']).fit(MATCHES, LATER)
    club = pl.DataFrame(
        {
            'home_team': ['lower 1', 'nobody'],
            'away_team': ['upper 1', 'upper 1'],
            'league': ['E0', 'E0'],
        }
    )
    said = model.predict_proba(club)
    assert not np.array_equal(said[0], said[1])
