"Rates from prices: there and back, what cannot be, and other people's solver."

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
    rates_from_prices,
)
from football_pred.markets.score_grid import outcome_probabilities, over_under, score_grid

rates = st.floats(0.2, 4)
RNG = np.random.default_rng(2)
HOME, AWAY, RHO = *RNG.uniform(0.3, 3.2, (2, 500)), RNG.uniform(-0.15, 0.1, 500)


@given(st.lists(st.tuples(rates, rates), min_size=1, max_size=8), st.floats(-0.15, 0.1))
@settings(max_examples=100, deadline=None)
def test_there_and_back_from_outcomes(pairs, rho):
    home, away = np.array(pairs).T
    found = implied_rates(outcome_probabilities(score_grid(home, away, rho)), rho=rho)
    assert found.max_error.max() < 1e-9
    assert (
        np.abs(
            outcome_probabilities(score_grid(found.home_rate, found.away_rate, found.rho))
            - outcome_probabilities(score_grid(home, away, rho))
        ).max()
        < 1e-9
    )
    assert np.abs(np.log([found.home_rate / home, found.away_rate / away])).max() < 1e-4


def test_there_and_back_with_totals():
    grid = score_grid(HOME, AWAY, RHO)
    found = implied_rates(outcome_probabilities(grid), over_under(grid)[:, 0], rho=None)
    assert found.max_error.max() < 1e-9
    assert np.abs(found.home_rate - HOME).max() < 1e-5
    assert np.abs(found.away_rate - AWAY).max() < 1e-5
    assert np.abs(found.rho - RHO).max() < 1e-5


@pytest.mark.parametrize('line', [0.5, 1.5, 3.5, 4.5])
@pytest.mark.parametrize('max_goals', [8, 15])
def test_other_lines_and_grids(line, max_goals):
    grid = score_grid(HOME, AWAY, -0.05, max_goals)
    found = implied_rates(
        outcome_probabilities(grid),
        over_under(grid, line)[:, 0],
        line=line,
        rho=-0.05,
        max_goals=max_goals,
    )
    assert found.max_error.max() < 1e-9
    assert np.abs(found.home_rate - HOME).max() < 1e-6


@pytest.mark.parametrize(('rho', 'max_goals'), [(0.0, 10), (-0.06, 10), (None, 12)])
def test_a_fixture_does_not_depend_on_the_others(rho, max_goals):
    "To the last bit, alone, with others, and in another order; also where nothing fits."
    grid = score_grid(HOME, AWAY, RHO)
    outcome, over = (
        outcome_probabilities(grid),
        np.clip(over_under(grid)[:, 0] + 0.1 * RNG.normal(size=len(HOME)), 0.01, 0.99),
    )
    for more in ([None] if rho is not None else []) + [over]:

        def found(rows, more=more):
            return np.array(
                implied_rates(
                    outcome[rows],
                    None if more is None else more[rows],
                    rho=rho,
                    max_goals=max_goals,
                )
            )

        together = found(np.arange(500))
        assert np.array_equal(found(np.arange(500)[::-1]), together[:, ::-1])
        for first, last in ((0, 1), (7, 8), (10, 13), (100, 237)):
            assert np.array_equal(found(np.arange(first, last)), together[:, first:last])


def test_least_squares_where_nothing_fits_exactly():
    "Outcomes of one rho and a total of another: no other rates nearby are closer."
    grid = score_grid(HOME[:50], AWAY[:50], -0.15)
    outcome, over = outcome_probabilities(grid), over_under(grid)[:, 0] + 0.04
    found = implied_rates(outcome, over, rho=0.0)
    assert found.max_error.min() > 1e-3

    def loss(home, away):
        fitted = score_grid(home, away)
        return ((outcome_probabilities(fitted) - outcome) ** 2).sum(axis=1) + (
            over_under(fitted)[:, 0] - over
        ) ** 2

    best = loss(found.home_rate, found.away_rate)
    for a, b in ((1.001, 1), (0.999, 1), (1, 1.001), (1, 0.999), (1.001, 1.001), (0.999, 1.001)):
        assert (loss(found.home_rate * a, found.away_rate * b) >= best - 1e-12).all()


@given(rates, rates)
@settings(max_examples=40, deadline=None)
def test_swapped_sides_mirror(home, away):
    outcome = outcome_probabilities(score_grid(home, away))
    there, back = implied_rates([outcome]), implied_rates([outcome[::-1]])
    assert there.home_rate[0] == pytest.approx(back.away_rate[0], rel=1e-7)
    assert there.away_rate[0] == pytest.approx(back.home_rate[0], rel=1e-7)


def test_penaltyblog_agrees():
    outcome = outcome_probabilities(score_grid(HOME[:12], AWAY[:12], max_goals=15))
    found = implied_rates(outcome, max_goals=15)
    for i, chances in enumerate(outcome):
        theirs = penaltyblog.models.goal_expectancy(*chances, dc_adj=False)
        assert found.home_rate[i] == pytest.approx(theirs['home_exp'], abs=0.02)
        assert found.away_rate[i] == pytest.approx(theirs['away_exp'], abs=0.02)


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


def test_nothing_there():
    assert implied_rates(np.empty((0, 3))).home_rate.shape == (0,)
    assert np.isnan(implied_rates([[np.nan] * 3]).away_rate).all()
    found = implied_rates([[0.4, 0.3, 0.3]] * 2, over=[0.5, np.nan])
    assert np.isnan(found.home_rate).tolist() == [False, True]


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
    found = implied_rates([outcome], over, rho=rho)
    for rate in (found.home_rate[0], found.away_rate[0]):
        assert MIN_IMPLIED_RATE * 0.999 <= rate <= MAX_IMPLIED_RATE * 1.001
    fitted = outcome_probabilities(score_grid(found.home_rate, found.away_rate, found.rho))
    assert found.max_error[0] >= np.abs(fitted - [outcome]).max() - 1e-9
    assert np.isfinite(found.max_error[0])


def test_from_prices():
    grid = score_grid(HOME, AWAY, -0.06)
    outcome, over = outcome_probabilities(grid), over_under(grid)
    safe = (outcome.max(axis=1) < 0.9) & (over.max(axis=1) < 0.9)
    found = rates_from_prices(outcome[safe] ** -0.95, over[safe] ** -0.96, rho=None)
    assert np.abs(found.home_rate - HOME[safe]).max() < 1e-5
    assert np.abs(found.rho + 0.06).max() < 1e-5
    found = rates_from_prices(1 / (outcome[safe] * 1.05), method='basic', rho=-0.06)
    assert np.abs(found.away_rate - AWAY[safe]).max() < 1e-5


def test_real_prices(shared_data):
    "Rates and rho meet what a real market says; all but one match, where a draw stood at 1.72."
    content = (shared_data / 'football_data_uk/I1_2324.csv').read_bytes()
    matches = pl.read_csv(
        content, infer_schema=False, encoding='utf8-lossy', truncate_ragged_lines=True
    ).with_columns(pl.col('^AvgC.*$').cast(pl.Float64))
    found = rates_from_prices(
        matches.select('AvgCH', 'AvgCD', 'AvgCA').to_numpy(),
        matches.select('AvgC>2.5', 'AvgC<2.5').to_numpy(),
        rho=None,
    )
    missed = found.max_error > 1e-9
    assert matches.filter(pl.Series(missed)).select('HomeTeam', 'AwayTeam').rows() == [
        ('Udinese', 'Roma')
    ]
    assert -0.3 < found.rho[~missed].min() < found.rho[~missed].max() < 0.15
    assert found.away_rate[~missed].min() > 0.3
    assert found.home_rate.max() < 4


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
        (lambda: rates_from_prices([[2.0, 3.4, 4.1]], [[1.9]]), r'prices have the shape \(1, 1\)'),
        (lambda: rates_from_prices([[2.0, 3.4, 4.1]], method='best'), "method 'best' is not known"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
