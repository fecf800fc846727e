"""Nothing looks ahead: every feature, every rating and every model is put through the kit.

Models are those of the registry and of params/models and those that are carried forward, ratings all that there are, features those of
`FEATURES`: what is added there is tested here."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

from football_pred.evaluation.backtest import walk_forward
from football_pred.evaluation.leakage import (
    LeakageError,
    assert_no_leakage,
    fixtures_as_of,
    scramble_after,
)
from football_pred.features.build import FEATURES, build_features
from football_pred.models.base import walks_forward
from football_pred.models.dixon_coles import DixonColes
from football_pred.models.online_dixon_coles import OnlineDixonColes
from football_pred.models.stacked_ratings import StackedRatings
from football_pred.ratings.elo_and_pi import RatingSystem
from tests.support.factories import MODELS as EVERY
from tests.support.factories import two_divisions

MATCHES = two_divisions()
START, END = date(2023, 9, 1), date(2023, 10, 10)
CUTOFFS = [
    datetime(2023, 9, 18, tzinfo=UTC),
    datetime(2023, 10, 7, 15, 40, tzinfo=UTC),
]  # a Monday; a Saturday between kick-off and result


class CarriedAlong(OnlineDixonColes):
    "The carried model as it is meant to be used: each league from one moment of asking to the next."

    def predict_walk_forward(self, history, targets):
        said = np.empty((targets.height, 3))
        rows = targets.with_row_index('row')
        for (league,), asked in rows.group_by('league', maintain_order=True):
            model, since = OnlineDixonColes(**self.get_params()), datetime(1990, 1, 1, tzinfo=UTC)
            for (as_of,), block in asked.sort('as_of').group_by('as_of', maintain_order=True):
                new = pl.col('result_known_at').is_between(since, as_of, closed='right')
                said[block['row'].to_numpy()] = model.learn(
                    history.filter(new, league=league), as_of
                ).predict_proba(block)
                since = as_of
        return said


MODELS = EVERY | {'CarriedAlong': CarriedAlong()}
every_model = pytest.mark.parametrize('name', MODELS)
every_cutoff = pytest.mark.parametrize('cutoff', CUTOFFS, ids=str)


def forecast(model, refit='day'):
    return lambda frame: walk_forward({'model': model}, frame, START, END, refit)


@every_model
@every_cutoff
def test_no_model_looks_ahead(name, cutoff):
    refit = 'week' if cutoff.weekday() == 0 else 'day'
    assert assert_no_leakage(forecast(MODELS[name], refit), MATCHES, cutoff) > 30


def with_hindsight(model, frame):
    "The same model, which learns from all results, whatever it is given; once, for it learns the same each time."
    learned = {}

    class Hindsight(type(model)):
        def fit(self, matches, as_of):
            if not learned:
                learned.update(
                    vars(
                        super().fit(
                            frame.filter(pl.col('home_goals').is_not_null()), frame['kickoff'].max()
                        )
                    )
                )
            vars(self).update(learned)
            return self

        if walks_forward(model):

            def predict_walk_forward(self, history, targets):
                return super().predict_walk_forward(
                    history, targets.with_columns(pl.col('as_of') + timedelta(days=8))
                )

    return Hindsight(**model.get_params())


@every_model
def test_every_model_with_hindsight_is_caught(name):
    with pytest.raises(LeakageError, match='it looks ahead'):
        assert_no_leakage(
            lambda frame: forecast(with_hindsight(MODELS[name], frame), 'week')(frame),
            MATCHES,
            CUTOFFS[0],
        )


def test_a_price_that_was_not_known_yet_is_not_shown():
    asked = fixtures_as_of(MATCHES.with_columns(as_of=pl.col('kickoff') - timedelta(hours=12)))
    early = pl.col('opening_known_at').is_not_null()
    assert (asked.filter(early)['opening_known_at'] <= asked.filter(early)['as_of']).all()
    assert asked.filter(~early)['opening_home'].null_count() == asked.filter(~early).height
    assert 0 < asked.filter(early).height < MATCHES['opening_known_at'].count()
    assert not {'home_goals', 'home_shots', 'closing_home', 'result_known_at', 'status'} & {
        *asked.columns
    }


def test_the_closing_price_of_the_match_itself_is_scrambled():
    "So a model that used it would be caught: its price is as unknown as its goals."
    cutoff = CUTOFFS[1]
    later = (
        scramble_after(MATCHES, cutoff)
        .join(MATCHES, on='match_id', suffix=' was')
        .filter(pl.col('result_known_at') > cutoff)
    )
    assert (later['closing_home'].drop_nulls() != later['closing_home was'].drop_nulls()).all()
    known = later.filter(pl.col('opening_known_at') <= cutoff)
    assert known.height > 3
    assert known['opening_home'].equals(known['opening_home was'], check_names=False)


class ClosingPrice:
    "A model that forecasts from the closing price."

    def __init__(self, frame):
        self.frame = frame

    def get_params(self, deep=True):
        return {'frame': self.frame}

    def predict_walk_forward(self, history, targets):
        prices = (
            targets.join(self.frame, on='match_id', how='left', maintain_order='left')
            .select(pl.col('closing_home', 'closing_draw', 'closing_away').fill_null(3.0))
            .to_numpy()
        )
        return (1 / prices) / (1 / prices).sum(axis=1, keepdims=True)


def test_who_uses_the_closing_price_is_caught():
    with pytest.raises(LeakageError, match='it looks ahead'):
        assert_no_leakage(
            lambda frame: walk_forward({'closing': ClosingPrice(frame)}, frame, START, END, 'day'),
            MATCHES,
            CUTOFFS[0],
        )


# Ratings and features


@pytest.mark.parametrize(
    'system', RatingSystem.__subclasses__(), ids=lambda system: system.__name__
)
@every_cutoff
def test_no_rating_looks_ahead(system, cutoff):
    def rated(frame):
        asked = frame.sort('kickoff', 'match_id').select(
            'match_id', 'kickoff', as_of=(pl.col('kickoff').dt.offset_by('-1us').dt.truncate('1d'))
        )
        return asked.join(system().rate_matches(frame), on='match_id')

    assert assert_no_leakage(rated, MATCHES, cutoff) > 100
    early = frame_with_early_results(cutoff)
    with pytest.raises(LeakageError, match='it looks ahead'):
        assert_no_leakage(lambda frame: rated(early(frame)), MATCHES, cutoff)


def frame_with_early_results(cutoff):
    "The frame, in which the results of the following days seem to be known already at the cutoff."

    def early(frame):
        soon = pl.col('result_known_at').is_between(cutoff, cutoff + timedelta(days=9)) & (
            pl.col('kickoff') > cutoff
        )
        moved = pl.when(soon).then(pl.lit(cutoff) - timedelta(days=3)).otherwise('result_known_at')
        kickoff = pl.when(soon).then(pl.lit(cutoff) - timedelta(days=4)).otherwise('kickoff')
        again = frame.filter(soon).with_columns(
            result_known_at=moved, kickoff=kickoff, match_id='early ' + pl.col('match_id')
        )
        return pl.concat([frame, again])

    return early


@pytest.mark.parametrize('feature', FEATURES, ids=lambda feature: feature.name)
@every_cutoff
def test_no_feature_looks_ahead(feature, cutoff):
    def described(frame):
        rows = build_features(frame, datetime(2030, 1, 1, tzinfo=UTC))
        return rows.select('match_id', 'kickoff', feature.name, as_of='feature_time')

    assert assert_no_leakage(described, MATCHES, cutoff) > 100


# One pass and one fit per block say the same


@pytest.mark.parametrize(
    'name', [name for name, model in MODELS.items() if isinstance(model, StackedRatings)]
)
def test_one_pass_says_what_a_fit_on_what_was_known_says(name):
    model, rng = MODELS[name], np.random.default_rng(5)
    hours = model.hours_before or 15
    targets = MATCHES.filter(pl.col('kickoff') >= datetime(2022, 3, 1, tzinfo=UTC)).with_columns(
        as_of=pl.col('kickoff') - timedelta(hours=hours)
    )
    targets = targets.with_columns(
        as_of=pl.when(pl.int_range(pl.len()) % 2 == 0)
        .then(pl.col('as_of').dt.truncate('1d'))
        .otherwise('as_of')
    )
    asked = fixtures_as_of(targets)
    said = clone(model).predict_walk_forward(MATCHES, asked)
    for row in rng.choice(targets.height, 6, replace=False):
        as_of = asked['as_of'][int(row)]
        fitted = clone(model).fit(MATCHES.filter(pl.col('result_known_at') <= as_of), as_of)
        assert np.abs(fitted.predict_proba(asked[int(row)]) - said[row]).max() < 1e-12


def test_carried_along_says_what_a_new_fit_at_each_moment_says():
    said = walk_forward(
        {'carried': CarriedAlong(), 'fitted': DixonColes()}, MATCHES, START, END, 'day'
    )
    carried, fitted = (
        said.filter(model=name).sort('match_id').select('p_home', 'p_draw', 'p_away').to_numpy()
        for name in ('carried', 'fitted')
    )
    assert len(carried) > 60
    assert np.abs(carried - fitted).max() < 1e-8
