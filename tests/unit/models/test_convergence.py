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
from football_pred.ratings.match_arrays import read_training_matches
from tests.support.factories import MODELS, two_divisions

MATCHES = two_divisions()


def slope(function, at, step=1e-5):
    "The gradient by central differences."
    at = np.asarray(at, dtype=float)
    around = np.eye(at.size).reshape(at.size, *at.shape) * step
    return np.array([function(at + one) - function(at - one) for one in around]).reshape(
        at.shape
    ) / (2 * step)


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
