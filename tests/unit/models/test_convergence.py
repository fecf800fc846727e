"Every model that climbs to a maximum gets there: gradients against differences of the likelihood, and every fit of a walk."

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

from football_pred.core.numerics import softmax
from football_pred.models.base import walks_forward
from football_pred.models.logits import fit_ordered_logit
from football_pred.models.poisson import AVERAGE_TEAM, PoissonGoals, regression_rows
from football_pred.models.softmax_regression import fit_poisson_regression, fit_softmax
from football_pred.models.stacked_ratings import StackedRatings
from football_pred.ratings import team_strengths
from football_pred.ratings.match_arrays import decay_weights, read_training_matches
from football_pred.ratings.rating_targets import (
    MICROSECONDS_PER_DAY,
    build_rating_data,
    read_fixtures,
    read_rating_specs,
    read_results,
)
from football_pred.ratings.team_strengths import (
    LEVEL_PRIOR,
    PRIOR_LOG_RATES,
    OnlineTeamStrengths,
    StrengthParameters,
    newton_step,
)
from tests.support.factories import MODELS, two_divisions

MATCHES = two_divisions()
RATINGS = {
    name: read_rating_specs(model.ratings)
    for name, model in MODELS.items()
    if isinstance(model, StackedRatings)
}
every_rating = pytest.mark.parametrize('ratings', RATINGS.values(), ids=RATINGS)


def slope(function, at, step=1e-5):
    "The gradient by central differences."
    at = np.asarray(at, dtype=float)
    around = np.eye(at.size).reshape(at.size, *at.shape) * step
    return np.array([function(at + one) - function(at - one) for one in around]).reshape(
        at.shape
    ) / (2 * step)


# Team rates


def likelihood(values, seen, at, carried, r, rating):
    "Penalised log-likelihood of one rating, match by match, as the formula has it."
    known = carried.strengths
    attack, defence, level = np.split(values, np.cumsum([len(known.teams)] * 2))
    level = level.reshape(-1, 2)
    home, away = (np.array([known.teams[name] for name in side]) for side in (seen.home, seen.away))
    league = np.array([known.leagues[name] for name in seen.league])
    weight = seen.weight[r] * decay_weights(
        (at - seen.moment) / MICROSECONDS_PER_DAY, rating.half_life
    )
    total = 0.0
    for i, j, ground, goals in (
        (home, away, 1 - seen.neutral, seen.target[r, 0]),
        (away, home, 0 * seen.neutral, seen.target[r, 1]),
    ):
        logs = level[league, ground] + attack[i] - defence[j]
        total += weight @ (goals * logs - np.exp(logs))
    mean = -rating.tier_gap * (known.tier - 1)
    return (
        total
        - rating.ridge * (((attack - mean) ** 2).sum() + ((defence - mean) ** 2).sum()) / 2
        - LEVEL_PRIOR * ((level - PRIOR_LOG_RATES) ** 2).sum() / 2
    )


@every_rating
def test_gradient_of_team_rates(ratings):
    results = read_results(MATCHES.filter(pl.col('league') != 'SIM'))
    seen, at = (
        build_rating_data(results, ratings),
        int(results['usable'].max()) + 3 * MICROSECONDS_PER_DAY,
    )
    half = int(results['usable'][300])
    carried = OnlineTeamStrengths(ratings).update(
        seen.take(results['usable'].to_numpy() <= half), half
    )
    carried.update(seen.take(results['usable'].to_numpy() > half), at)
    known, rng = carried.strengths, np.random.default_rng(1)
    point = StrengthParameters(
        *(
            part + rng.normal(0, 0.3, part.shape)
            for part in (known.attack, known.defence, known.level)
        )
    )
    mean = -known.gap[:, None] * (known.tier - 1)
    _, gradient, _, _ = newton_step(point, carried.statistics, mean, carried.ridge)
    for r, rating in enumerate(ratings):
        exact = np.concatenate([part[r].ravel() for part in gradient])
        by_differences = slope(
            lambda values, r=r, rating=rating: likelihood(values, seen, at, carried, r, rating),
            np.concatenate([part[r].ravel() for part in point]),
        )
        assert np.abs(exact).max() > 1
        np.testing.assert_allclose(
            by_differences, exact, rtol=1e-6, atol=1e-6 * np.abs(exact).max()
        )


@every_rating
def test_every_fit_of_a_walk_of_team_rates_is_at_its_maximum(ratings, monkeypatch):
    left = []

    def settled(point, tables, mean, ridge, settle=team_strengths.newton_solve):
        end = settle(point, tables, mean, ridge)
        _, gradient, _, _ = newton_step(end[0], tables, mean, ridge)
        left.append(max(np.abs(part).max() for part in gradient) / (1 + tables.total.max()))
        return end

    monkeypatch.setattr(team_strengths, 'newton_solve', settled)
    for country in (['E0', 'E1'], ['SIM']):
        results = read_results(MATCHES.filter(pl.col('league').is_in(country)))
        team_strengths.walk_forward_strengths(
            build_rating_data(results, ratings),
            read_fixtures(results),
            results['moment'].to_numpy() - 1,
            ratings,
        )
    assert len(left) > 250
    assert max(left) < 1e-9


# Models that are fitted anew


@pytest.mark.parametrize(
    'name',
    [
        name
        for name, model in MODELS.items()
        if not walks_forward(model) and name != 'GradientBoosting'
    ],
)
def test_every_fit_of_a_walk_converges(name):
    "From the first week on, when most clubs have not played."
    matches = MATCHES.filter(league='SIM').sort('result_known_at')
    weeks = matches['result_known_at'].dt.truncate('1w').unique().sort() + timedelta(days=7)
    for week in weeks:
        model = clone(MODELS[name]).fit(matches.filter(pl.col('result_known_at') <= week), week)
        assert getattr(model, 'converged_', True)
        assert np.isfinite(model.predict_proba(matches.head(3))).all()
    assert len(weeks) > 40


def test_poisson_is_at_its_maximum():
    model = PoissonGoals().fit(MATCHES.filter(league='E0'))
    rows, teams, size = (
        regression_rows(
            read_training_matches(MATCHES.filter(league='E0')), model.half_life, model.prior_matches
        ),
        model.teams_,
        len(model.teams_),
    )
    team, opponent = (
        np.array([size if name == AVERAGE_TEAM else teams.index(name) for name in rows[column]])
        for column in ('team', 'opponent')
    )
    home, goals, weight = (rows[column].to_numpy(float) for column in ('home', 'goals', 'weight'))

    def value(values):
        attack, defence = (
            np.append(part, 0.0) for part in (values[:size], values[size : 2 * size])
        )
        logs = values[-2] + values[-1] * home + attack[team] - defence[opponent]
        return weight @ (goals * logs - np.exp(logs))

    end = np.concatenate([model.attack_, model.defence_, [model.level_, model.home_advantage_]])
    assert np.abs(slope(value, end)).max() < 1e-7 * np.abs(slope(value, 0 * end)).max()


def regressions():
    "Each regression with its penalised log-likelihood, and where both begin."
    rng = np.random.default_rng(3)
    design, weight, prior = (
        np.column_stack([np.ones(400), rng.normal(0, 1, (400, 3))]),
        rng.uniform(0, 2, 400),
        rng.normal(0, 0.3, (4, 3)),
    )
    outcome, goals, information = (
        np.eye(3)[rng.integers(0, 3, 400)],
        rng.poisson(1.4, 400).astype(float),
        np.array([1e-6, 3.0, 3.0, 10.0]),
    )
    yield (
        'softmax',
        fit_softmax(design, outcome, weight, prior, information),
        prior,
        lambda at: (
            weight @ (outcome * np.log(softmax(design @ at))).sum(axis=1)
            - ((at - prior) ** 2).sum(axis=1) @ information / 2
        ),
    )
    yield (
        'log-linear',
        fit_poisson_regression(design, goals, weight, prior[:, 0], information),
        prior[:, 0],
        lambda at: (
            weight @ (goals * (design @ at) - np.exp(design @ at))
            - (at - prior[:, 0]) ** 2 @ information / 2
        ),
    )

    def ordered(at):
        up, down = (1 / (1 + np.exp(at[-1] - sign * (design @ at[:-1]))) for sign in (1, -1))
        return (
            outcome * weight[:, None] * np.log(np.stack([up, 1 - up - down, down], axis=1))
        ).sum() - 5 * ((at[:-1] - prior[:, 0]) ** 2).sum() / 2

    yield (
        'ordered',
        np.append(*fit_ordered_logit(design, outcome * weight[:, None], prior[:, 0], 5.0)),
        np.append(prior[:, 0], 0.5),
        ordered,
    )


@pytest.mark.parametrize(
    ('end', 'start', 'value'),
    [one[1:] for one in regressions()],
    ids=[one[0] for one in regressions()],
)
def test_regressions_end_at_their_maximum(end, start, value):
    assert value(end) > value(start)
    assert np.abs(slope(value, end)).max() < 1e-6 * np.abs(slope(value, start)).max()
