"Scores agree with other implementations, are proper, and the verdict is right as often as it claims."

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penaltyblog.metrics import rps_average
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from football_pred.evaluation.scoring import (
    MIN_WEEKS,
    accuracy,
    bootstrap_by_week,
    brier,
    brier_by_match,
    calibration_error,
    check_probabilities,
    common_matches,
    hit_by_match,
    log_loss,
    log_loss_by_match,
    reliability_table,
    rps,
    rps_by_match,
    score_forecasts,
    score_table,
)
from football_pred.markets.score_grid import OUTCOMES

RNG = np.random.default_rng(11)
CHANCES = RNG.dirichlet([4.5, 2.5, 3], 500)
HAPPENED = (RNG.random((500, 1)) >= np.cumsum(CHANCES, axis=1)[:, :2]).sum(axis=1)
START = datetime(2025, 8, 16, 15, tzinfo=UTC)


def frame(model, probabilities, outcomes=HAPPENED, per_week=10, **columns):
    n = len(probabilities)
    return pl.DataFrame(
        {
            'model': model,
            'match_id': [f'm{i}' for i in range(n)],
            'outcome': [OUTCOMES[k] for k in outcomes[:n]],
            'kickoff': [START + timedelta(weeks=i // per_week) for i in range(n)],
            **{f'p_{o}': probabilities[:, k] for k, o in enumerate(OUTCOMES)},
            **columns,
        }
    )


def test_rps_is_that_of_penaltyblog():
    assert rps(CHANCES, HAPPENED) == pytest.approx(rps_average(CHANCES, HAPPENED), abs=1e-12)


def test_log_loss_is_that_of_sklearn():
    assert log_loss(CHANCES, HAPPENED) == pytest.approx(
        sklearn_log_loss(HAPPENED, CHANCES), abs=1e-12
    )


def test_brier_is_that_of_sklearn():
    assert brier(CHANCES, HAPPENED) == pytest.approx(
        brier_score_loss(HAPPENED, CHANCES, scale_by_half=False), abs=1e-12
    )


simplex = st.lists(st.floats(1e-3, 1), min_size=3, max_size=3).map(
    lambda weights: np.array(weights) / sum(weights)
)


@given(truth=simplex, said=simplex)
def test_nobody_expects_to_gain_by_saying_what_he_does_not_believe(truth, said):
    every = np.arange(3)
    for score in (rps_by_match, log_loss_by_match, brier_by_match):
        honest, other = (truth @ score(np.tile(p, (3, 1)), every) for p in (truth, said))
        assert honest <= other + 1e-12


@given(said=simplex, outcome=st.integers(0, 2))
def test_scores_do_not_depend_on_which_side_is_called_home(said, outcome):
    for score in (rps_by_match, log_loss_by_match, brier_by_match, hit_by_match):
        assert score([said], [outcome]) == pytest.approx(
            score([said[::-1]], [2 - outcome]), abs=1e-12
        )


def test_a_near_miss_costs_less_only_for_rps():
    near, far = [[0.2, 0.6, 0.2]], [[0.2, 0.2, 0.6]]
    assert rps(near, [0]) < rps(far, [0])
    assert brier(near, [0]) == pytest.approx(brier(far, [0]))


def test_ties_are_shared():
    assert accuracy([[0.4, 0.4, 0.2]] * 3, [0, 1, 2]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ('row', 'problem'),
    [
        ([0.5, 0.6, -0.1], 'Row 1: the probability of away is -0.1'),
        ([np.inf, 0, 0], 'Row 1: the probability of home is inf'),
        ([0.5, np.nan, 0.5], 'Row 1: the probability of draw is nan'),
        ([0.5, 0.3, 0.2 + 2e-6], 'Row 1: .* sum to 1.000002'),
    ],
)
def test_what_is_no_probability_is_refused(row, problem):
    with pytest.raises(ValueError, match=problem):
        check_probabilities([[0.5, 0.3, 0.2], row])


def test_rounding_of_a_float_is_accepted():
    check_probabilities([[0.5, 0.3, 0.2 + 5e-7], [0.1 + 0.2, 0.3, 0.4]])


@pytest.mark.parametrize(
    'outcomes', [[0, 1.5], [0, -1], [0, np.nan], ['home', 'draw'], [0], [[0, 1]], [None, 1]]
)
def test_what_is_no_outcome_is_refused(outcomes):
    with pytest.raises(ValueError, match=r'[Oo]utcome'):
        rps([[0.5, 0.3, 0.2]] * 2, outcomes)


def test_certainty_that_was_wrong_is_infinitely_bad():
    assert log_loss([[1, 0, 0]], [2]) == np.inf


# Bootstrap and table


def test_interval_leaves_out_a_true_zero_about_as_often_as_it_says():
    rng, misses, runs = np.random.default_rng(3), 0, 400
    for run in range(runs):
        week = np.repeat(np.arange(38), 10)
        low, high = bootstrap_by_week(
            rng.normal(0, 0.06, 380) + np.repeat(rng.normal(0, 0.01, 38), 10),
            week,
            n_resamples=400,
            seed=run,
        )
        misses += low > 0 or high < 0
    assert 0.02 < misses / runs < 0.10


def test_weeks_are_resampled_whole():
    week = np.repeat(np.arange(40), 10)
    shared = np.repeat(
        np.random.default_rng(0).normal(0, 0.06, 40), 10
    )  # every match of a week alike: 40 facts, not 400
    low, high = bootstrap_by_week(shared, week)
    alone_low, alone_high = bootstrap_by_week(shared, np.arange(400))
    assert high - low > 2.5 * (alone_high - alone_low)


def test_order_of_matches_does_not_matter():
    week, order = np.repeat(np.arange(20), 5), np.random.default_rng(0).permutation(100)
    difference = np.random.default_rng(1).normal(size=100)
    assert bootstrap_by_week(difference, week) == pytest.approx(
        bootstrap_by_week(difference[order], week[order]), abs=1e-12
    )


def test_few_weeks_give_no_verdict():
    better = pl.concat(
        [
            frame('base', np.tile([1 / 3] * 3, (100, 1)), per_week=10),
            frame('oracle', np.eye(3)[HAPPENED[:100]], per_week=10),
        ]
    )
    row = score_table(better, reference='base').row(0, named=True)
    assert MIN_WEEKS > 10
    assert (row['model'], row['rps_low'], row['verdict']) == ('oracle', None, 'no difference shown')


def test_verdicts():
    models = pl.concat(
        [
            frame('base', np.tile([0.45, 0.25, 0.3], (500, 1))),
            frame('knows', CHANCES),
            frame('reversed', CHANCES[:, ::-1]),
            frame('same', np.tile([0.45 + 1e-15, 0.25, 0.3 - 1e-15], (500, 1))),
        ]
    )
    table = score_table(models, reference='base')
    assert dict(table.select('model', 'verdict').iter_rows()) == {
        'base': 'reference',
        'knows': 'better',
        'reversed': 'worse',
        'same': 'no difference shown',
    }
    assert table['rps'].is_sorted()
    assert table.equals(
        score_table(models.sample(fraction=1, shuffle=True, seed=1), reference='base')
    ), 'rows in another order'


def test_difference_is_taken_on_the_same_matches():
    late = frame('late', CHANCES).filter(
        pl.col('match_id').is_in([f'm{i}' for i in range(250, 500)])
    )
    table = score_table(
        pl.concat([frame('base', np.tile([0.45, 0.25, 0.3], (500, 1))), late]), reference='base'
    )
    row = table.row(by_predicate=pl.col('model') == 'late', named=True)
    assert (row['matches'], row['compared']) == (250, 250)
    expected = (
        rps_by_match(CHANCES, HAPPENED)
        - rps_by_match(np.tile([0.45, 0.25, 0.3], (500, 1)), HAPPENED)
    )[250:].mean()
    assert row['rps_difference'] == pytest.approx(expected, abs=1e-9)
    assert common_matches(pl.concat([frame('base', CHANCES), late]))['match_id'].n_unique() == 250


def test_models_without_a_common_match_are_not_compared():
    apart = pl.concat(
        [
            frame('base', CHANCES),
            frame('other', CHANCES).with_columns(match_id='x' + pl.col('match_id')),
        ]
    )
    row = score_table(apart, reference='base').row(
        by_predicate=pl.col('model') == 'other', named=True
    )
    assert (row['compared'], row['rps_difference'], row['verdict']) == (
        0,
        None,
        'no difference shown',
    )


def test_groups():
    forecasts = pl.concat(
        [frame('base', np.tile([0.45, 0.25, 0.3], (500, 1))), frame('knows', CHANCES)]
    ).with_columns(
        season=pl.when(pl.col('kickoff') < START + timedelta(weeks=25))
        .then(pl.lit('a'))
        .otherwise(pl.lit('b')),
        league=pl.lit('E0'),
    )
    table = score_table(forecasts, by=['season', 'league'], reference='base')
    assert table.select('season', 'matches').rows() == [
        ('a', 250),
        ('a', 250),
        ('b', 250),
        ('b', 250),
    ]
    whole = score_table(forecasts)
    for model in ('base', 'knows'):
        assert table.filter(model=model)['log_loss'].mean() == pytest.approx(
            whole.filter(model=model)['log_loss'][0]
        )
    assert 'verdict' not in whole.columns


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        (lambda f: f.drop('outcome'), r"\['outcome'\]"),
        (lambda f: pl.concat([f, f]), 'm0 has more than one forecast by base'),
        (lambda f: f.with_columns(outcome=pl.lit('H')), 'm0: the outcome is H'),
        (lambda f: f.with_columns(p_home=pl.lit(None, pl.Float64)), 'Row 0.*nan'),
        (
            lambda f: pl.concat([f, f.with_columns(model=pl.lit('two'), outcome=pl.lit('draw'))]),
            'different outcomes',
        ),
    ],
)
def test_bad_forecasts_are_refused(change, problem):
    with pytest.raises(ValueError, match=problem):
        score_table(change(frame('base', CHANCES)))


def test_week_begins_on_monday():
    sunday, monday = (
        datetime(2025, 8, 17, 23, 59, tzinfo=UTC),
        datetime(2025, 8, 18, 0, 0, tzinfo=UTC),
    )
    scored = score_forecasts(
        frame('base', CHANCES[:2]).with_columns(kickoff=pl.Series([sunday, monday]))
    )
    assert scored['week'].dt.date().to_list() == [
        date(2025, 8, 11),
        date(2025, 8, 18),
    ]


# Calibration


def test_reliability_counts_every_forecast_once():
    bins = reliability_table(CHANCES, HAPPENED, bins=7)
    assert bins['count'].sum() == 1500
    assert (bins['count'] * bins['observed']).sum() == pytest.approx(500)
    assert (
        (bins['low'] <= bins['observed'] + 1e-12) & (bins['observed'] <= bins['high'] + 1e-12)
    ).all()


def test_wilson_interval_by_hand():
    row = reliability_table([[0.5, 0.3, 0.2]] * 10, [0] * 4 + [1] * 6, bins=1, outcome='home').row(
        0, named=True
    )
    z = 1.959963984540054
    middle, half = (
        (0.4 + z * z / 20) / (1 + z * z / 10),
        z * np.sqrt(0.4 * 0.6 / 10 + z * z / 400) / (1 + z * z / 10),
    )
    assert (row['low'], row['high']) == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_noise_floor_is_where_a_perfect_forecaster_is():
    rng, errors = np.random.default_rng(5), []
    for _ in range(60):
        happened = (rng.random((500, 1)) >= np.cumsum(CHANCES, axis=1)[:, :2]).sum(axis=1)
        errors.append(calibration_error(CHANCES, happened, n_simulations=1).error)
    known = calibration_error(CHANCES, HAPPENED, n_simulations=300)
    assert np.mean(errors) == pytest.approx(known.noise_floor, rel=0.08)
    assert np.mean(np.array(errors) <= known.limit) > 0.85


def test_errors_of_two_outcomes_do_not_cancel():
    said, happened = np.tile([0.35, 0.35, 0.3], (1000, 1)), np.repeat([0, 1, 2], [500, 200, 300])
    assert calibration_error(said, happened, bins=1, n_simulations=10).error == pytest.approx(
        (0.15 + 0.15 + 0) / 3
    )
    assert reliability_table(said, happened, bins=2)['observed'].to_list() == pytest.approx(
        [1 / 3]
    )  # pooled, they do


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 25))
def test_bins_of_any_number(bins):
    assert reliability_table([[1, 0, 0], [0, 0.5, 0.5]], [0, 1], bins=bins)['count'].sum() == 6
