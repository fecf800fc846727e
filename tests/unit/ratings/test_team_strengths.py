"Team strengths: the gradient against differences of the likelihood, and the maximum of every fit."

import numpy as np
import polars as pl
import pytest

from football_pred.models.stacked_ratings import StackedRatings
from football_pred.ratings import team_strengths
from football_pred.ratings.match_arrays import MICROSECONDS_PER_DAY, decay_weights
from football_pred.ratings.rating_targets import (
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


def slope(function, point, step=1e-5):
    "Gradient by central differences."
    point = np.asarray(point, dtype=float)
    steps = np.eye(point.size).reshape(point.size, *point.shape) * step
    differences = [function(point + change) - function(point - change) for change in steps]
    return np.array(differences).reshape(point.shape) / (2 * step)


def likelihood(values, data, at, online, r, rating):
    "Penalised log-likelihood of rating r, match by match, as in the formula."
    strengths = online.strengths
    attack, defence, level = np.split(values, np.cumsum([len(strengths.teams)] * 2))
    level = level.reshape(-1, 2)
    home = np.array([strengths.teams[name] for name in data.home])
    away = np.array([strengths.teams[name] for name in data.away])
    league = np.array([strengths.leagues[name] for name in data.league])
    age = (at - data.kickoff) / MICROSECONDS_PER_DAY
    weight = data.weight[r] * decay_weights(age, rating.half_life)
    total = 0.0
    for i, j, ground, goals in (
        (home, away, 1 - data.neutral, data.target[r, 0]),
        (away, home, 0 * data.neutral, data.target[r, 1]),
    ):
        log_rates = level[league, ground] + attack[i] - defence[j]
        total += weight @ (goals * log_rates - np.exp(log_rates))
    mean = -rating.tier_gap * (strengths.tier - 1)
    distance = ((attack - mean) ** 2).sum() + ((defence - mean) ** 2).sum()
    level_distance = ((level - PRIOR_LOG_RATES) ** 2).sum()
    return total - rating.ridge * distance / 2 - LEVEL_PRIOR * level_distance / 2


@every_rating
def test_gradient(ratings):
    results = read_results(MATCHES.filter(pl.col('league') != 'SIM'))
    data = build_rating_data(results, ratings)
    at = int(results['usable'].max()) + 3 * MICROSECONDS_PER_DAY
    half = int(results['usable'][300])
    online = OnlineTeamStrengths(ratings)
    online.update(data.take(data.usable_from <= half), half)
    online.update(data.take(data.usable_from > half), at)
    strengths = online.strengths
    rng = np.random.default_rng(1)
    fitted = (strengths.attack, strengths.defence, strengths.level)
    point = StrengthParameters(*(values + rng.normal(0, 0.3, values.shape) for values in fitted))
    mean = -strengths.gap[:, None] * (strengths.tier - 1)
    gradient = newton_step(point, online.statistics, mean, online.ridge).gradient
    for r, rating in enumerate(ratings):
        exact = np.concatenate([slopes[r].ravel() for slopes in gradient])
        by_differences = slope(
            lambda values, r=r, rating=rating: likelihood(values, data, at, online, r, rating),
            np.concatenate([values[r].ravel() for values in point]),
        )
        assert np.abs(exact).max() > 1
        np.testing.assert_allclose(
            by_differences, exact, rtol=1e-6, atol=1e-6 * np.abs(exact).max()
        )


@every_rating
def test_every_fit_of_a_walk_is_at_its_maximum(ratings, monkeypatch):
    gradients = []

    def solve(start, statistics, mean, ridge, newton_solve=team_strengths.newton_solve):
        fit = newton_solve(start, statistics, mean, ridge)
        gradient = newton_step(fit.parameters, statistics, mean, ridge).gradient
        largest = max(np.abs(slopes).max() for slopes in gradient)
        gradients.append(largest / (1 + statistics.league_goals.max()))
        return fit

    monkeypatch.setattr(team_strengths, 'newton_solve', solve)
    for country in (['E0', 'E1'], ['SIM']):
        results = read_results(MATCHES.filter(pl.col('league').is_in(country)))
        team_strengths.walk_forward_strengths(
            build_rating_data(results, ratings),
            read_fixtures(results),
            results['moment'].to_numpy() - 1,
            ratings,
        )
    assert len(gradients) > 250
    assert max(gradients) < 1e-9
