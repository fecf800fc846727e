"Markets: every price against its definition, penaltyblog, and the laws between markets."

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penaltyblog.models import FootballProbabilityGrid

from football_pred.markets.pricing import (
    DOUBLE_CHANCES,
    StakeShares,
    clean_sheets,
    correct_score_table,
    double_chance,
    draw_no_bet,
    half_time_full_time,
    handicap,
    market_table,
    odd_even,
    totals,
    wins_to_nil,
)
from football_pred.markets.score_grid import both_to_score, outcome_probabilities, score_grid

rates = st.floats(0.1, 5)
quarter_lines = st.integers(-14, 14).map(lambda n: n / 4)
total_lines = st.integers(0, 26).map(lambda n: n / 4)
some_grid = st.builds(score_grid, rates, rates, st.floats(-0.2, 0.2), st.integers(2, 12))
RNG = np.random.default_rng(0)
GRIDS = score_grid(*RNG.uniform(0.3, 3.2, (2, 40)), RNG.uniform(-0.1, 0.05, 40))


def expected_shares(grid, beaten_by):
    "Win, push and lose by the book: a quarter line is two bets of half the stake."
    shares = np.zeros(3)
    for (i, j), probability in np.ndenumerate(grid):
        d = beaten_by(i, j)
        for part in (d,) if d * 2 == round(d * 2) else (d - 0.25, d + 0.25):
            shares[1 - int(np.sign(part))] += probability * (1 if d * 2 == round(d * 2) else 0.5)
    return shares


# Lines


@given(some_grid, quarter_lines, total_lines)
@settings(max_examples=60, deadline=None)
def test_lines_by_the_book(grid, line, total):
    for side, sign in (('home', 1), ('away', -1)):
        assert (
            np.abs(
                np.array(handicap(grid, line, side))
                - expected_shares(grid, lambda i, j, s=sign: s * (i - j) + line)
            ).max()
            < 1e-12
        )
    for direction, sign in (('over', 1), ('under', -1)):
        assert (
            np.abs(
                np.array(totals(grid, total, direction))
                - expected_shares(grid, lambda i, j, s=sign: s * (i + j - total))
            ).max()
            < 1e-12
        )


@given(some_grid, quarter_lines, total_lines)
@settings(max_examples=60, deadline=None)
def test_penaltyblog_agrees(grid, line, total):
    box = FootballProbabilityGrid(grid, 1.0, 1.0, normalize=False)
    under, push, over = box.totals(total)
    assert np.abs(np.array(totals(grid, total)) - [over, push, under]).max() < 1e-12
    for side in ('home', 'away'):
        reference = box.asian_handicap_probs(side, line)
        assert (
            np.abs(
                np.array(handicap(grid, line, side))
                - [reference['win'], reference['push'], reference['lose']]
            ).max()
            < 1e-12
        )
    assert np.abs(1 / draw_no_bet(grid).price - box.draw_no_bet_home) < 1e-12
    assert (
        np.abs(
            double_chance(grid) - [box.double_chance_1x, box.double_chance_12, box.double_chance_x2]
        ).max()
        < 1e-12
    )
    assert np.abs(wins_to_nil(grid) - [box.win_to_nil_home(), box.win_to_nil_away()]).max() < 1e-12
    assert abs(both_to_score(grid) - box.btts_yes) < 1e-12


@given(some_grid, quarter_lines)
@settings(max_examples=60, deadline=None)
def test_laws_of_handicaps(grid, line):
    home, away = handicap(grid, line), handicap(grid, -line, 'away')
    assert np.allclose(home, away[::-1], atol=1e-14)  # one side's win is the other's loss
    assert abs(sum(home) - 1) < 1e-12
    if home.win > 0:
        assert home.win * (home.price - 1) - home.lose == pytest.approx(0, abs=1e-12)
    if home.push == 0 and 0 < home.win < 1:
        assert 1 / home.price + 1 / away.price == pytest.approx(1)
    mirrored = handicap(grid.T, line, 'away')
    assert np.allclose(home, mirrored, atol=1e-14)
    middle = [
        np.add(*pair) / 2
        for pair in zip(handicap(grid, line - 0.25), handicap(grid, line + 0.25), strict=True)
    ]
    if line * 2 % 1:
        assert np.allclose(home, middle, atol=1e-14)
    more = handicap(grid, line + 0.25)
    assert more.win >= home.win - 1e-14
    assert more.lose <= home.lose + 1e-14


def test_lines_that_other_markets_know():
    outcome = outcome_probabilities(GRIDS)
    assert np.allclose(handicap(GRIDS, -0.5).win, outcome[:, 0], atol=1e-14)
    assert np.allclose(handicap(GRIDS, 0.5).win, outcome[:, :2].sum(axis=1), atol=1e-14)
    assert np.allclose(np.array(handicap(GRIDS, 0)).T, outcome, atol=1e-14)
    assert np.allclose(np.array(draw_no_bet(GRIDS, 'away')).T, outcome[:, ::-1], atol=1e-14)
    over = np.add.outer(range(11), range(11)) > 2.5
    assert np.allclose(totals(GRIDS, 2.5).win, GRIDS[:, over].sum(axis=1), atol=1e-14)
    assert (totals(GRIDS, [0.5, 1.5, 2.5]).push == 0).all()


def test_many_lines_are_single_lines():
    lines = [-1.5, -0.25, 0, 0.75, 2]
    together = handicap(GRIDS, lines, 'away')
    assert together.win.shape == together.price.shape == (40, 5)
    for i, line in enumerate(lines):
        assert np.allclose(
            [part[:, i] for part in together], handicap(GRIDS, line, 'away'), atol=1e-15
        )
    assert handicap(GRIDS[0], lines).win.shape == (5,)
    assert np.shape(handicap(GRIDS[0], 0.25).win) == ()


def test_fixtures_do_not_touch_each_other():
    table = market_table(GRIDS)
    for i in (0, 17, 39):
        alone = market_table(GRIDS[i])
        assert (
            table.filter(fixture=i)
            .drop('fixture', 'win', 'push', 'lose', 'price')
            .equals(alone.drop('fixture', 'win', 'push', 'lose', 'price'))
        )
        for name in ('win', 'push', 'lose'):
            assert np.allclose(table.filter(fixture=i)[name], alone[name], atol=1e-14)


# A bet


def test_fair_price_of_quarter_line():
    "Home -0.25 at level teams: the draw loses half."
    bet = StakeShares(np.array(0.4), np.array(0.1), np.array(0.5))
    assert bet.price == pytest.approx(2.25)


@given(some_grid, total_lines)
@settings(max_examples=40, deadline=None)
def test_the_long_run_of_a_fair_price_is_zero(grid, line):
    bet = totals(grid, line)
    if bet.win > 0:
        assert bet.win * bet.price + bet.push == pytest.approx(1)


# Bets that cannot push


@given(some_grid)
@settings(max_examples=60, deadline=None)
def test_sums_by_the_book(grid):
    cells = list(np.ndenumerate(grid))

    def probability(happens):
        return sum(p for (i, j), p in cells if happens(i, j))

    assert np.allclose(
        double_chance(grid),
        [
            probability(lambda i, j: i >= j),
            probability(lambda i, j: i != j),
            probability(lambda i, j: i <= j),
        ],
        atol=1e-12,
    )
    assert np.allclose(
        clean_sheets(grid),
        [probability(lambda i, j: j == 0), probability(lambda i, j: i == 0)],
        atol=1e-12,
    )
    assert np.allclose(
        wins_to_nil(grid),
        [probability(lambda i, j: i > j == 0), probability(lambda i, j: j > i == 0)],
        atol=1e-12,
    )
    assert np.allclose(
        odd_even(grid),
        [probability(lambda i, j: (i + j) % 2), probability(lambda i, j: (i + j) % 2 == 0)],
        atol=1e-12,
    )


@given(some_grid, st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_correct_scores(grid, largest):
    table = correct_score_table(grid, largest)
    assert abs(table['probability'].sum() - 1) < 1e-9
    assert np.allclose(table['price'] * table['probability'], 1)
    others = table.filter(pl.col('score') == 'any other draw')['probability'].sum()
    assert abs(others - np.trace(grid) + np.trace(grid[: largest + 1, : largest + 1])) < 1e-12


# Half-time


@given(st.floats(0.2, 3), st.floats(0.2, 3), st.floats(0.2, 0.8))
@settings(max_examples=20, deadline=None)
def test_poisson_halves_are_independent(home_rate, away_rate, share):
    "Both halves as Poisson matches of their own, put together score by score."
    size = 12
    first, second = (
        score_grid(home_rate * part, away_rate * part, max_goals=size)
        for part in (share, 1 - share)
    )
    expected = np.zeros((3, 3))
    index = np.arange(size + 1)
    d1, d2 = (np.zeros(2 * size + 1) for _ in range(2))
    np.add.at(d1, np.subtract.outer(index, index) + size, first)
    np.add.at(d2, np.subtract.outer(index, index) + size, second)
    for a, pa in enumerate(d1):
        for b, pb in enumerate(d2):
            expected[1 - np.sign(a - size), 1 - np.sign(a + b - 2 * size)] += pa * pb
    pairs = half_time_full_time(score_grid(home_rate, away_rate, max_goals=24), share)
    assert np.abs(pairs - expected).max() < 1e-6


@given(some_grid, st.floats(0.01, 0.99))
@settings(max_examples=40, deadline=None)
def test_half_time_keeps_full_time(grid, share):
    pairs = half_time_full_time(grid, share)
    assert np.allclose(pairs.sum(axis=0), outcome_probabilities(grid), atol=1e-12)
    assert np.allclose(pairs, half_time_full_time(grid.T, share)[::-1, ::-1], atol=1e-12)
    assert (pairs >= 0).all()


def test_half_time_by_simulation():
    grid = score_grid(1.6, 1.1, -0.1)
    rng = np.random.default_rng(5)
    home, away = np.divmod(rng.choice(121, size=200_000, p=grid.ravel() / grid.sum()), 11)
    first = np.sign(rng.binomial(home, 0.45) - rng.binomial(away, 0.45))
    counted = (
        np.bincount(3 * (1 - first) + 1 - np.sign(home - away), minlength=9).reshape(3, 3) / 200_000
    )
    assert np.abs(counted - half_time_full_time(grid)).max() < 0.005


# The table


def test_market_table():
    table = market_table(GRIDS, total_lines=[2.5, 2.75], handicap_lines=[-0.25, 0])
    assert table.columns == [
        'fixture',
        'market',
        'selection',
        'line',
        'win',
        'push',
        'lose',
        'price',
    ]
    assert table['fixture'].to_list() == sorted(table['fixture'].to_list())
    assert table.select('fixture', 'market', 'selection', 'line').is_unique().all()
    assert np.allclose(table['win'] + table['push'] + table['lose'], 1, atol=1e-9)
    assert table.filter(pl.col('win') > 0)['price'].min() >= 1
    book = (
        table.filter(market='outcome')
        .group_by('fixture', maintain_order=True)
        .agg(book=(1 / pl.col('price')).sum())['book']
    )
    assert np.allclose(book, 1)
    assert table.filter(market='double chance')['selection'].unique(
        maintain_order=True
    ).to_list() == list(DOUBLE_CHANCES)
    assert sorted(set(table.filter(market='handicap', selection='away')['line'])) == [0.0, 0.25]
    assert not np.signbit(
        table['line'].drop_nulls().to_numpy()[table['line'].drop_nulls().to_numpy() == 0]
    ).any()


def test_no_fixtures():
    none = np.empty((0, 11, 11))
    assert market_table(none).height == 0
    assert market_table(none).schema == market_table(GRIDS).schema
    assert totals(none).win.shape == (0,)
    assert handicap(none, [0, 1]).price.shape == (0, 2)
    assert half_time_full_time(none).shape == (0, 3, 3)


def test_grids_are_not_changed():
    before = GRIDS.copy()
    market_table(GRIDS)
    assert np.array_equal(before, GRIDS)


def test_views_and_other_types():
    assert np.allclose(totals(GRIDS[::2]).win, totals(GRIDS).win[::2], atol=1e-15)
    assert np.allclose(totals(GRIDS.transpose(0, 2, 1)).win, totals(GRIDS).win, atol=1e-14)
    assert np.allclose(totals(GRIDS[0].tolist()).win, totals(GRIDS[0]).win)
    assert (
        outcome_probabilities(GRIDS[:, None]).shape
        == double_chance(GRIDS[:, None]).shape
        == (40, 1, 3)
    )


# Bad input

EVERY = {
    'handicap': lambda g: handicap(g, 0),
    'totals': totals,
    'draw_no_bet': draw_no_bet,
    'double_chance': double_chance,
    'clean_sheets': clean_sheets,
    'wins_to_nil': wins_to_nil,
    'odd_even': odd_even,
    'half_time_full_time': half_time_full_time,
    'market_table': market_table,
}
BAD_GRIDS = {
    'sums to 0.99': GRIDS * np.where(np.arange(40) == 3, 0.99, 1)[:, None, None],
    'sums to 1.00000001': GRIDS * (1 + 1e-8),
    'cells that are not 0 or more': np.where(np.arange(40)[:, None, None] == 3, np.nan, GRIDS),
    r'shape \(\.\.\., G\+1, G\+1\)': GRIDS[..., :5],
    'sums to 0, expected 1': np.zeros((2, 3, 3)),
    r'got \(121,\)': GRIDS[0].ravel(),
    r'got \(1, 1\)': np.ones((1, 1)),
}


@pytest.mark.parametrize('function', EVERY)
@pytest.mark.parametrize('message', BAD_GRIDS)
def test_bad_grids(function, message):
    with pytest.raises(ValueError, match=message):
        EVERY[function](BAD_GRIDS[message])


def test_the_fixture_is_named():
    with pytest.raises(ValueError, match=r'grid of fixture 3 sums to 0\.99'):
        totals(BAD_GRIDS['sums to 0.99'])
    with pytest.raises(ValueError, match='grid of fixture 3 has cells'):
        totals(BAD_GRIDS['cells that are not 0 or more'])
    with pytest.raises(ValueError, match='fixture 0 has cells'):
        totals([[1.5, -0.5], [0, 0]])


@pytest.mark.parametrize('line', [0.3, -1.1, float('nan'), float('inf'), [0.5, 0.6], [[0.5]]])
def test_bad_lines(line):
    with pytest.raises(ValueError, match='line is'):
        handicap(GRIDS, line)
    with pytest.raises(ValueError, match='line is'):
        totals(GRIDS, line)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: totals(GRIDS, -0.25), 'line is -0.25, a number of goals is at least 0'),
        (lambda: totals(GRIDS, 2.5, 'ovr'), "direction is 'ovr'; did you mean over"),
        (lambda: handicap(GRIDS, 0, 'draw'), "side is 'draw'"),
        (lambda: handicap(GRIDS, 0, None), 'side is None'),
        (lambda: draw_no_bet(GRIDS, 'hone'), "side is 'hone'; did you mean home"),
        (lambda: correct_score_table(GRIDS), 'one fixture'),
        (lambda: half_time_full_time(GRIDS, 0), 'share is 0'),
        (lambda: half_time_full_time(GRIDS, float('nan')), 'share is nan'),
        (lambda: market_table(GRIDS, handicap_lines=[0.1]), 'line is 0.1'),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
