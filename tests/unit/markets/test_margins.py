"Bookmaker margins: published values, other implementations, the rule of each method, errors."

import numpy as np
import penaltyblog
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr

from football_pred.markets.margin_removal import (
    MARGIN_METHODS,
    METHOD_ALIASES,
    fair_probabilities,
    overround,
)

every_method = pytest.mark.parametrize('method', MARGIN_METHODS)
ALWAYS = (
    'power',
    'shin',
    'odds ratio',
    'proportional',
)  # have an answer whatever the outsider's price

# Published by the documentation of the R package implied, whose solver stops at about 1e-6
IMPLIED = [[4.20, 3.70, 1.95], [2.45, 3.70, 2.90], [2.05, 3.20, 3.80]]
IMPLIED_ANSWERS = {
    'basic': (
        [
            [0.2331556, 0.2646631, 0.5021813],
            [0.3988848, 0.2641264, 0.3369888],
            [0.4586948, 0.2938514, 0.2474538],
        ],
        1e-7,
    ),
    'wpo': (
        [
            [0.2310332, 0.2632083, 0.5057585],
            [0.4004096, 0.2625166, 0.3370739],
            [0.4666506, 0.2913457, 0.2420036],
        ],
        1e-7,
    ),
    'shin': (
        [
            [0.2315716, 0.2635742, 0.5048542],
            [0.4000221, 0.2629271, 0.3370508],
            [0.4645882, 0.2919788, 0.2434331],
        ],
        3e-6,
    ),
    'or': (
        [
            [0.2320048, 0.2636415, 0.5043537],
            [0.3996912, 0.2633869, 0.3369219],
            [0.4634406, 0.2919032, 0.2446562],
        ],
        3e-6,
    ),
    'power': (
        [
            [0.2311414, 0.2630644, 0.5057942],
            [0.4003156, 0.2627189, 0.3369655],
            [0.4667139, 0.2908985, 0.2423876],
        ],
        3e-6,
    ),
}
# Published by the tests of the Python package pybettor for the first of these markets, eight digits
PYBETTOR_ANSWERS = {
    'basic': [0.23315559, 0.26466311, 0.50218128],
    'wpo': [0.23103323, 0.26320826, 0.50575850],
    'additive': [0.23103323, 0.26320826, 0.50575850],
    'or': [0.23200452, 0.26364129, 0.50435417],
    'power': [0.23114097, 0.26306409, 0.50579492],
    'shin': [0.231572, 0.2635745, 0.5048535],
    'bb': [0.22993796, 0.26245747, 0.50760456],
    'jsd': [0.23152161, 0.26341082, 0.50506756],
}
# Published by the Python packages penaltyblog (tests, four decimals), shin and goto_conversion
# (documentation)
OTHER_ANSWERS = [
    ('multiplicative', [2.7, 2.3, 4.4], [0.358738, 0.4211273, 0.2201347], 1e-7),
    ('additive', [2.7, 2.3, 4.4], [0.3595618, 0.423974, 0.2164642], 1e-7),
    ('power', [2.7, 2.3, 4.4], [0.3591708, 0.4237291, 0.2171001], 2e-5),
    ('shin', [2.7, 2.3, 4.4], [0.3593461, 0.4232517, 0.2174022], 2e-5),
    ('differential margin weighting', [2.7, 2.3, 4.4], [0.3595618, 0.423974, 0.2164642], 1e-7),
    ('odds ratio', [2.7, 2.3, 4.4], [0.3588103, 0.4225611, 0.2186286], 2e-5),
    ('shin', [2.6, 2.4, 4.3], [0.37299406033208965, 0.4047794109200184, 0.2222265287474275], 1e-11),
    ('shin', [1.5, 2.74], [0.6508515815085157, 0.3491484184914841], 1e-13),
    (
        'goto',
        [1.2, 3.4, 5.6],
        [0.7753528189788175, 0.17479473292721065, 0.04985244809397199],
        1e-13,
    ),
    ('goto', [2, 3.4, 5.6], [0.5078707717902462, 0.30346951747815437, 0.1886597107315994], 1e-13),
]


@pytest.mark.parametrize('method', IMPLIED_ANSWERS)
def test_published_by_implied(method):
    expected, tolerance = IMPLIED_ANSWERS[method]
    assert np.abs(fair_probabilities(IMPLIED, method) - expected).max() < tolerance
    assert np.abs(overround(IMPLIED) - 1 - [0.02118602, 0.02326112, 0.06346277]).max() < 1e-8


@pytest.mark.parametrize('method', PYBETTOR_ANSWERS)
def test_published_by_pybettor(method):
    assert np.abs(fair_probabilities(IMPLIED[:1], method) - PYBETTOR_ANSWERS[method]).max() < 6e-8


@pytest.mark.parametrize(('method', 'prices', 'expected', 'tolerance'), OTHER_ANSWERS)
def test_published_by_others(method, prices, expected, tolerance):
    assert np.abs(fair_probabilities([prices], method) - expected).max() < tolerance


@st.composite
def probability_vectors(draw, least=0.03, outcomes=(2, 6)):
    "Probabilities of one market, none below `least`."
    size = draw(st.integers(*outcomes))
    weights = np.array(draw(st.lists(st.floats(0.05, 1), min_size=size, max_size=size)))
    return least + (1 - size * least) * weights / weights.sum()


@given(probability_vectors(), st.floats(1, 1.15))
@settings(max_examples=60, deadline=None)
def test_penaltyblog_agrees(p, margin):
    assume(p.max() * margin < 0.99)
    prices = 1 / (p * margin)
    for ours, theirs in (
        ('proportional', 'multiplicative'),
        ('additive', 'additive'),
        ('power', 'power'),
        ('shin', 'shin'),
        ('wpo', 'differential_margin_weighting'),
        ('odds ratio', 'odds_ratio'),
        ('odds ratio', 'logarithmic'),
    ):
        try:
            expected = penaltyblog.implied.calculate_implied(prices.tolist(), theirs).probabilities
        except ValueError:
            continue  # no sign change in its bracket, or a negative probability
        if min(expected) > 0:
            assert np.abs(fair_probabilities([prices], ours)[0] - expected).max() < 1e-9


# What each method takes off is what its bookmaker put on


def priced_power(p, size):
    return p ** (1 - size)


def priced_odds_ratio(p, size):
    return (1 + size) * p / (1 - p) / (1 + (1 + size) * p / (1 - p))


def priced_proportional(p, size):
    return p * (1 + size)


def priced_additive(p, size):
    return p + size / len(p)


def priced_balanced_book(p, size):
    return (1 - size / 2) * p + size / 2


def priced_shin(p, size):
    root = np.sqrt(size / 2 * p + (1 - size / 2) * p**2)
    return root * root.sum()


def priced_standard_error(p, size):
    "Solved by iteration for the r that loses `size` standard errors."
    r = p
    for _ in range(200):
        r = p + size / 4 * np.sqrt(1 - r)
    return r


BOOKMAKERS = {
    'power': priced_power,
    'odds ratio': priced_odds_ratio,
    'proportional': priced_proportional,
    'additive': priced_additive,
    'balanced book': priced_balanced_book,
    'shin': priced_shin,
    'standard error': priced_standard_error,
}


@pytest.mark.parametrize('method', BOOKMAKERS)
@given(p=probability_vectors(), size=st.floats(0, 0.12))
@settings(max_examples=60, deadline=None)
def test_margin_is_taken_off_as_it_was_put_on(method, p, size):
    r = BOOKMAKERS[method](p, size)
    assume(r.max() < 0.995)
    assert np.abs(fair_probabilities([1 / r], method)[0] - p).max() < 1e-9


def coin_divergence(p, r):
    "Jensen-Shannon divergence of two coins, as it is defined."
    coins = np.array([[p, 1 - p], [r, 1 - r]])
    return rel_entr(coins, coins.mean(axis=0)).sum() / 2


@given(probability_vectors(least=0.08), st.floats(0.95, 1.12))
@settings(max_examples=40, deadline=None)
def test_all_outcomes_are_blurred_alike(p, margin):
    assume(p.max() * margin < 0.99)
    r = p * margin
    fair = fair_probabilities([1 / r], 'jsd')[0]
    blur = [coin_divergence(*pair) for pair in zip(fair, r, strict=True)]
    assert np.ptp(blur) < 1e-9
    assert (fair <= r + 1e-12).all() if r.sum() > 1 else (fair >= r - 1e-12).all()


# What every method promises


@every_method
@given(p=probability_vectors(least=0.08), margin=st.floats(1, 1.08))
@settings(max_examples=60, deadline=None)
def test_fair_probabilities_are_probabilities(method, p, margin):
    assume(p.max() * margin < 0.97)
    prices = 1 / (p * margin)
    fair = fair_probabilities([prices, prices[::-1]], method)
    assert abs(fair[0].sum() - 1) < 1e-9
    assert (fair > 0).all()
    assert np.abs(fair[0] - fair[1, ::-1]).max() < 1e-9
    assert (np.diff(fair[0][np.argsort(prices)]) <= 1e-9).all()
    if method not in ('proportional', 'shin'):
        assert (fair[0] <= 1 / prices + 1e-9).all()


@every_method
def test_no_margin_nothing_removed(method):
    p = np.array([[0.5, 0.3, 0.2], [0.05, 0.15, 0.8]])
    assert np.abs(fair_probabilities(1 / p, method) - p).max() < 1e-8


@every_method
def test_markets_do_not_touch_each_other(method):
    rng = np.random.default_rng(1)
    prices = 1 / (rng.dirichlet([8, 6, 7], 200) * rng.uniform(1.02, 1.08, (200, 1)))
    prices[::7, 1] = np.nan
    together = fair_probabilities(prices, method)
    alone = np.concatenate([fair_probabilities(prices[i : i + 1], method) for i in range(200)])
    assert np.array_equal(np.isnan(together).any(axis=1), np.isnan(prices).any(axis=1))
    assert np.isnan(together[::7]).all()
    assert np.nanmax(np.abs(together - alone)) < 1e-9


@every_method
def test_missing_prices(method):
    assert fair_probabilities(np.empty((0, 3)), method).shape == (0, 3)
    assert np.isnan(fair_probabilities([[np.nan] * 3, [2.5, np.nan, 2.9]], method)).all()


@pytest.mark.parametrize(
    'method', [name for name in MARGIN_METHODS if name not in ('shin', 'balanced book')]
)
def test_a_discount_is_removed_too(method):
    fair = fair_probabilities([[2.1, 3.7, 4.3], [2.0, 3.4, 4.1]], method)
    assert overround([[2.1, 3.7, 4.3]])[0] < 1
    assert np.abs(fair.sum(axis=1) - 1).max() < 1e-9
    assert (fair[0] > [1 / 2.1 - 1e-9, 1 / 3.7 - 1e-9, 1 / 4.3 - 1e-9]).all()


@pytest.mark.parametrize('method', ALWAYS)
@pytest.mark.parametrize(
    'prices',
    [
        [1.0001, 501, 1001],
        [1.01, 34, 101],
        [1.001, 1.001],
        [2, 2],
        [1.5] * 40,
        [1.01, 1000, 90, 1000],
    ],
)
def test_extreme_prices(method, prices):
    fair = fair_probabilities([prices], method)[0]
    assert abs(fair.sum() - 1) < 1e-9
    assert (fair > 0).all()


@pytest.mark.parametrize('alias', METHOD_ALIASES)
def test_other_names(alias):
    assert np.array_equal(
        fair_probabilities(IMPLIED, alias.upper()),
        fair_probabilities(IMPLIED, METHOD_ALIASES[alias]),
    )
    assert np.array_equal(
        fair_probabilities(IMPLIED, 'odds_ratio'), fair_probabilities(IMPLIED, 'odds ratio')
    )


@pytest.fixture(scope='module')
def closing_prices(shared_data):
    "Average closing prices of the five big leagues, five seasons."
    files = [
        shared_data / f'football_data_uk/{league}_{season}.csv'
        for league in ('E0', 'SP1', 'I1', 'D1', 'F1')
        for season in ('2021', '2122', '2223', '2324', '2425')
    ]
    frames = [
        pl.read_csv(
            file.read_bytes(), infer_schema=False, encoding='utf8-lossy', truncate_ragged_lines=True
        )
        for file in files
    ]
    return np.concatenate(
        [
            frame.select(pl.col('AvgCH', 'AvgCD', 'AvgCA').cast(pl.Float64)).to_numpy()
            for frame in frames
        ]
    )


@every_method
def test_real_prices(closing_prices, method):
    "Every method has an answer for every match, and they differ by less than four points."
    fair = fair_probabilities(closing_prices, method)
    complete = ~np.isnan(fair).any(axis=1)
    assert complete.sum() > 8900
    assert np.array_equal(complete, ~np.isnan(closing_prices).any(axis=1))
    assert np.abs(fair[complete] - fair_probabilities(closing_prices)[complete]).max() < 0.04


def test_prices_are_not_changed():
    prices = np.array([[2.1, np.nan, 3.6], [2.1, 3.4, 3.6]])
    before = prices.copy()
    fair_probabilities(prices)
    assert np.array_equal(prices, before, equal_nan=True)


@pytest.mark.parametrize(
    ('prices', 'method', 'message'),
    [
        ([[2.1, 3.4, 1.0]], 'power', 'prices has 1 in row 0, column 2'),
        ([[2.1, 3.4, 3.6], [2.1, -3, 3.6]], 'power', 'prices has -3 in row 1, column 1'),
        ([[2.1, 3.4, 3.6], [np.inf, 3, 3.6]], 'power', 'prices has inf in row 1, column 0'),
        ([[2.1, 0, np.nan]], 'power', 'prices has 0 in row 0, column 1'),
        ([2.1, 3.4, 3.6], 'power', r'shape \(3,\)'),
        ([[2.1], [3.4]], 'power', r'shape \(2, 1\)'),
        ([[[2.1, 3.4]]], 'power', r'shape \(1, 1, 2\)'),
        ([['a', 'b']], 'power', 'could not convert'),
        ([[2.1, 3.4, 3.6]], 'powr', "method 'powr' is not known; did you mean power"),
        ([[2.1, 3.4, 3.6]], '', "method '' is not known"),
        (
            [[2.1, 3.4, 3.6], [2.1, 3.4, 25]],
            'power',
            'prices in row 1 have an overround of 0.810; below 0.9 an outcome is missing',
        ),
        (
            [[2.1, 3.4, 3.6], [2.1, 3.7, 4.3]],
            'bb',
            "row 1 have an overround of 0.9790, and the method 'balanced book' needs 1 or more; "
            'use power',
        ),
        (
            [[1.01, 21, 101]],
            'additive',
            "row 0 leave no probability to their outsider by the method 'additive'; use power",
        ),
        ([[1.01, 21, 101]], 'bb', 'leave no probability to their outsider'),
        ([[1.01, 21, 101]], 'goto', 'leave no probability to their outsider'),
        ([[1 / 0.87, 5, 10, 20, 50, 100]], 'jsd', 'leave no probability to their outsider'),
    ],
)
def test_bad_prices(prices, method, message):
    with pytest.raises(ValueError, match=message):
        fair_probabilities(prices, method)
