"Implied rates: round trips, impossible markets, and the solver of penaltyblog."

import numpy as np
import penaltyblog
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from football_pred.markets.implied_goals import (
    MAX_IMPLIED_RATE,
    MIN_IMPLIED_RATE,
    implied_rates,
)
from football_pred.markets.margin_removal import fair_probabilities
from football_pred.markets.pricing import totals
from football_pred.markets.score_grid import outcome_probabilities, score_grid

rates = st.floats(0.2, 4)
RNG = np.random.default_rng(2)
HOME, AWAY, RHO = *RNG.uniform(0.3, 3.2, (2, 500)), RNG.uniform(-0.15, 0.1, 500)


@given(st.lists(st.tuples(rates, rates), min_size=1, max_size=8), st.floats(-0.15, 0.1))
@settings(max_examples=100, deadline=None)
def test_round_trip_from_outcomes(pairs, rho):
    home, away = np.array(pairs).T
    implied = implied_rates(outcome_probabilities(score_grid(home, away, rho)), rho=rho)
    assert implied.max_error.max() < 1e-9
    assert (
        np.abs(
            outcome_probabilities(score_grid(implied.home_rate, implied.away_rate, implied.rho))
            - outcome_probabilities(score_grid(home, away, rho))
        ).max()
        < 1e-9
    )
    assert np.abs(np.log([implied.home_rate / home, implied.away_rate / away])).max() < 1e-4


def test_round_trip_with_totals():
    grid = score_grid(HOME, AWAY, RHO)
    implied = implied_rates(outcome_probabilities(grid), totals(grid).win, rho=None)
    assert implied.max_error.max() < 1e-9
    assert np.abs(implied.home_rate - HOME).max() < 1e-5
    assert np.abs(implied.away_rate - AWAY).max() < 1e-5
    assert np.abs(implied.rho - RHO).max() < 1e-5


@pytest.mark.parametrize('line', [0.5, 1.5, 3.5, 4.5])
@pytest.mark.parametrize('max_goals', [8, 15])
def test_other_lines_and_grids(line, max_goals):
    grid = score_grid(HOME, AWAY, -0.05, max_goals)
    implied = implied_rates(
        outcome_probabilities(grid),
        totals(grid, line).win,
        line=line,
        rho=-0.05,
        max_goals=max_goals,
    )
    assert implied.max_error.max() < 1e-9
    assert np.abs(implied.home_rate - HOME).max() < 1e-6


@pytest.mark.parametrize(('rho', 'max_goals'), [(0.0, 10), (-0.06, 10), (None, 12)])
def test_a_fixture_does_not_depend_on_the_others(rho, max_goals):
    "To the last bit, alone, with others, and in another order; also where nothing fits."
    grid = score_grid(HOME, AWAY, RHO)
    outcome, over = (
        outcome_probabilities(grid),
        np.clip(totals(grid).win + 0.1 * RNG.normal(size=len(HOME)), 0.01, 0.99),
    )
    for more in ([None] if rho is not None else []) + [over]:

        def implied(rows, more=more):
            return np.array(
                implied_rates(
                    outcome[rows],
                    None if more is None else more[rows],
                    rho=rho,
                    max_goals=max_goals,
                )
            )

        together = implied(np.arange(500))
        assert np.array_equal(implied(np.arange(500)[::-1]), together[:, ::-1])
        for first, last in ((0, 1), (7, 8), (10, 13), (100, 237)):
            assert np.array_equal(implied(np.arange(first, last)), together[:, first:last])


def test_least_squares_where_nothing_fits_exactly():
    "Outcomes of one rho and a total of another: no other rates nearby are closer."
    grid = score_grid(HOME[:50], AWAY[:50], -0.15)
    outcome, over = outcome_probabilities(grid), totals(grid).win + 0.04
    implied = implied_rates(outcome, over, rho=0.0)
    assert implied.max_error.min() > 1e-3

    def loss(home, away):
        fitted = score_grid(home, away)
        return ((outcome_probabilities(fitted) - outcome) ** 2).sum(axis=1) + (
            totals(fitted).win - over
        ) ** 2

    best = loss(implied.home_rate, implied.away_rate)
    for a, b in ((1.001, 1), (0.999, 1), (1, 1.001), (1, 0.999), (1.001, 1.001), (0.999, 1.001)):
        assert (loss(implied.home_rate * a, implied.away_rate * b) >= best - 1e-12).all()


@given(rates, rates)
@settings(max_examples=40, deadline=None)
def test_swapped_sides_mirror(home, away):
    outcome = outcome_probabilities(score_grid(home, away))
    forward, backward = implied_rates([outcome]), implied_rates([outcome[::-1]])
    assert forward.home_rate[0] == pytest.approx(backward.away_rate[0], rel=1e-7)
    assert forward.away_rate[0] == pytest.approx(backward.home_rate[0], rel=1e-7)


def test_penaltyblog_agrees():
    outcome = outcome_probabilities(score_grid(HOME[:12], AWAY[:12], max_goals=15))
    implied = implied_rates(outcome, max_goals=15)
    for i, probabilities in enumerate(outcome):
        reference = penaltyblog.models.goal_expectancy(*probabilities, dc_adj=False)
        assert implied.home_rate[i] == pytest.approx(reference['home_exp'], abs=0.02)
        assert implied.away_rate[i] == pytest.approx(reference['away_exp'], abs=0.02)


def test_fixtures_do_not_touch_each_other():
    outcome = outcome_probabilities(score_grid(HOME[:30], AWAY[:30]))
    outcome[::5] = np.nan
    together = implied_rates(outcome)
    assert np.array_equal(np.isnan(together.home_rate), np.arange(30) % 5 == 0)
    assert np.isnan(together.max_error[::5]).all()
    for i in (1, 7, 29):
        assert implied_rates(outcome[i : i + 1]).home_rate[0] == pytest.approx(
            together.home_rate[i], rel=1e-9
        )


def test_missing_probabilities():
    assert implied_rates(np.empty((0, 3))).home_rate.shape == (0,)
    assert np.isnan(implied_rates([[np.nan] * 3]).away_rate).all()
    implied = implied_rates([[0.4, 0.3, 0.3]] * 2, over=[0.5, np.nan])
    assert np.isnan(implied.home_rate).tolist() == [False, True]


@pytest.mark.parametrize(
    'outcome',
    [
        [0.2, 0.6, 0.2],
        [0.495, 0.01, 0.495],
        [0.98, 0.015, 0.005],
        [0.999, 0.0009, 0.0001],
        [1e-4, 0.9998, 1e-4],
        [0.01, 0.01, 0.98],
        [0.3, 0.02, 0.68],
    ],
)
@pytest.mark.parametrize('over', [None, [0.02], [0.5], [0.98]])
@pytest.mark.parametrize('rho', [0.0, -0.1, None])
def test_odd_markets_end_somewhere_sane(outcome, over, rho):
    if rho is None and over is None:
        return
    implied = implied_rates([outcome], over, rho=rho)
    for rate in (implied.home_rate[0], implied.away_rate[0]):
        assert MIN_IMPLIED_RATE * 0.999 <= rate <= MAX_IMPLIED_RATE * 1.001
    fitted = outcome_probabilities(score_grid(implied.home_rate, implied.away_rate, implied.rho))
    assert implied.max_error[0] >= np.abs(fitted - [outcome]).max() - 1e-9
    assert np.isfinite(implied.max_error[0])


def test_from_prices():
    grid = score_grid(HOME, AWAY, -0.06)
    outcome = outcome_probabilities(grid)
    over = np.stack([totals(grid).win, totals(grid).lose], axis=1)
    safe = (outcome.max(axis=1) < 0.9) & (over.max(axis=1) < 0.9)
    fair = fair_probabilities(outcome[safe] ** -0.95)
    implied = implied_rates(fair, fair_probabilities(over[safe] ** -0.96)[:, 0], rho=None)
    assert np.abs(implied.home_rate - HOME[safe]).max() < 1e-5
    assert np.abs(implied.rho + 0.06).max() < 1e-5
    implied = implied_rates(fair_probabilities(1 / (outcome[safe] * 1.05), 'basic'), rho=-0.06)
    assert np.abs(implied.away_rate - AWAY[safe]).max() < 1e-5


def test_real_prices(shared_data):
    "Rates and rho meet what a real market says; all but one match, where a draw stood at 1.72."
    content = (shared_data / 'football_data_uk/I1_2324.csv').read_bytes()
    matches = pl.read_csv(
        content, infer_schema=False, encoding='utf8-lossy', truncate_ragged_lines=True
    ).with_columns(pl.col('^AvgC.*$').cast(pl.Float64))
    outcome = fair_probabilities(matches.select('AvgCH', 'AvgCD', 'AvgCA').to_numpy())
    over = fair_probabilities(matches.select('AvgC>2.5', 'AvgC<2.5').to_numpy())[:, 0]
    implied = implied_rates(outcome, over, rho=None)
    missed = implied.max_error > 1e-9
    assert matches.filter(pl.Series(missed)).select('HomeTeam', 'AwayTeam').rows() == [
        ('Udinese', 'Roma')
    ]
    assert -0.3 < implied.rho[~missed].min() < implied.rho[~missed].max() < 0.15
    assert implied.away_rate[~missed].min() > 0.3
    assert implied.home_rate.max() < 4


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (
            lambda: implied_rates([0.4, 0.3, 0.3]),
            r'outcome has the shape \(3,\), expected \(fixtures, 3\)',
        ),
        (lambda: implied_rates([[0.4, 0.6]]), r'outcome has the shape \(1, 2\)'),
        (
            lambda: implied_rates([[0.4, 0.3, 0.31]]),
            'outcome sums to 1.010000 for fixture 0, expected 1; remove the margin',
        ),
        (lambda: implied_rates([[0.4, 0.3, 0.3], [1.0, 0, 0]]), 'outcome has 1 for fixture 1'),
        (lambda: implied_rates([[1.3, -0.3, 0.0]]), 'outcome has 1.3 for fixture 0'),
        (lambda: implied_rates([[0.4, 0.3, 0.3]], over=0.5), r'over has the shape \(\)'),
        (lambda: implied_rates([[0.4, 0.3, 0.3]], over=[1.0]), 'over has 1 for fixture 0'),
        (lambda: implied_rates([[0.4, 0.3, 0.3]], over=[0.5], line=2.25), 'line is 2.25'),
        (lambda: implied_rates([[0.4, 0.3, 0.3]], rho=None), 'give over as well'),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
