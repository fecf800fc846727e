"Walks that are kept: equal to walks from the beginning to the last digit, blind to the future."

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from football_pred.models.stacked_ratings import StackedRatings
from football_pred.ratings.match_arrays import MICROSECONDS_PER_DAY
from football_pred.ratings.rating_targets import (
    build_rating_data,
    read_fixtures,
    read_rating_specs,
    read_results,
)
from football_pred.ratings.strength_walks import (
    KeptWalks,
    RatingArguments,
    rate_country,
    rating_digests,
)
from football_pred.ratings.team_strengths import MAX_TIMESTAMP, walk_forward_strengths
from tests.support.factories import MODELS, two_divisions

RESULTS = read_results(two_divisions().filter(pl.col('league') != 'SIM'))
RATINGS = {
    name: read_rating_specs(model.ratings)
    for name, model in MODELS.items()
    if isinstance(model, StackedRatings)
}
SPECS = RATINGS['goals_plus_shots'][2:6]  # of goals, shots on and off target, and corners
every_rating = pytest.mark.parametrize('ratings', RATINGS.values(), ids=RATINGS)


def first_days(days):
    "Results that are usable by a midnight, counted from the end when negative."
    midnights = RESULTS['usable'].unique().sort()
    return RESULTS.filter(pl.col('usable') <= midnights[days])


def rate(results, ratings=SPECS, kept=None, until=MAX_TIMESTAMP, hours=1):
    "Rate the results of a country, each some hours before its kick-off."
    data = build_rating_data(results, ratings)
    at = data.kickoff - hours * 3_600_000_000
    kept = KeptWalks() if kept is None else kept
    return rate_country(data, read_fixtures(results), at, ratings, until, store=kept)


def tables(rated):
    "All arrays of a rated country."
    strengths = rated.state
    state = [strengths.attack, strengths.defence, strengths.attack_kept, strengths.defence_kept]
    return [*rated.past, *rated.fixtures, *state, strengths.level, strengths.points]


def assert_same(one, other):
    "Assert that two rated countries are the same to the last digit."
    for mine, theirs in zip(tables(one), tables(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert one.state.to_data() == other.state.to_data()


@every_rating
@pytest.mark.parametrize('hours', [1, 200])
def test_walks_say_what_one_pass_says(ratings, hours):
    data = build_rating_data(RESULTS, ratings)
    fixtures = read_fixtures(RESULTS)
    for until in (MAX_TIMESTAMP, int(data.known_at.max())):
        at = np.minimum(data.kickoff - hours * 3_600_000_000, until)
        passed, state = walk_forward_strengths(data, fixtures, at, ratings, until)
        rated = rate_country(data, fixtures, at, ratings, until, store=KeptWalks())
        for mine, theirs in zip(rated.fixtures, passed, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-10, rtol=0)
        for name in ('attack', 'defence', 'attack_kept', 'defence_kept', 'level', 'points', 'tier'):
            mine = getattr(rated.state, name)
            theirs = getattr(state.strengths, name)
            np.testing.assert_allclose(mine, theirs, atol=1e-10, rtol=0)
        assert list(rated.state.teams) == list(state.strengths.teams)
        assert list(rated.state.season) == list(state.strengths.season)
    midnights = (data.kickoff - 1) // MICROSECONDS_PER_DAY * MICROSECONDS_PER_DAY
    by_pass, _ = walk_forward_strengths(data, fixtures, midnights, ratings)
    np.testing.assert_allclose(rated.past.log_rates, by_pass.log_rates, atol=1e-10, rtol=0)


def test_a_walk_is_done_once_and_says_the_same():
    kept = KeptWalks()
    first = rate(RESULTS, kept=kept)
    fitted = kept.n_fitted
    assert fitted == len(SPECS) * RESULTS['usable'].n_unique()
    assert_same(first, rate(RESULTS, kept=kept))
    assert kept.n_fitted == fitted
    at_end = rate(RESULTS, kept=kept, until=int(RESULTS['known'].max()))
    assert kept.n_fitted == fitted
    assert at_end.state.attack.shape == first.state.attack.shape


def test_products_share_the_ratings_that_they_have_in_common():
    kept = KeptWalks()
    midnights = RESULTS['usable'].n_unique()
    for name, ratings in RATINGS.items():
        assert_same(rate(RESULTS, ratings, kept), rate(RESULTS, ratings))
        assert kept.n_fitted % midnights == 0, name
    different = {rating for ratings in RATINGS.values() for rating in ratings}
    total = sum(len(ratings) for ratings in RATINGS.values())
    assert kept.n_fitted == len(different) * midnights < total * midnights


@every_rating
def test_the_company_of_a_rating_makes_no_difference(ratings):
    together = rate(RESULTS, ratings)
    for row, rating in enumerate(ratings):
        alone = rate(RESULTS, [rating])
        np.testing.assert_array_equal(alone.past.log_rates[0], together.past.log_rates[row])
        np.testing.assert_array_equal(alone.fixtures.log_rates[0], together.fixtures.log_rates[row])
        np.testing.assert_array_equal(alone.state.attack[0], together.state.attack[row])


@pytest.mark.parametrize('days', [-2, -9, -60])
def test_a_walk_that_is_carried_on_is_a_walk_from_the_beginning(days):
    kept = KeptWalks()
    rate(first_days(days), kept=kept)
    before = kept.n_fitted
    assert_same(rate(RESULTS, kept=kept), rate(RESULTS))
    midnights = RESULTS['usable'].n_unique()
    assert 0 < kept.n_fitted - before < len(SPECS) * midnights


def test_a_late_result_of_the_last_weeks_carries_a_walk_on():
    kept = KeptWalks()
    rate(RESULTS.head(RESULTS.height - 12).vstack(RESULTS.tail(11)), kept=kept)
    before = kept.n_fitted
    assert_same(rate(RESULTS, kept=kept), rate(RESULTS))
    assert kept.n_fitted - before < len(SPECS) * 40


CHANGES = {
    'home_goals': pl.col('home_goals') + 1,
    'away_goals': pl.col('away_goals') + 1,
    'home_team': pl.lit('upper 99'),
    'league': pl.lit('E2'),
    'season': pl.lit('9900'),
    'tier': pl.col('tier') + 1,
    'neutral': ~pl.col('neutral'),
    'moment': pl.col('moment') - 1,
    'known': pl.col('known') - 1,
    'weight': pl.col('weight') / 2,
    'home_corners': pl.col('home_corners').fill_null(4) + 1,
}


@pytest.mark.parametrize('column', CHANGES)
def test_a_change_of_a_match_is_another_walk(column):
    row = RESULTS.with_row_index('i').filter(pl.col('home_corners').is_not_null())['i'][50]
    is_row = pl.int_range(pl.len()) == row
    changed = RESULTS.with_columns(
        pl.when(is_row).then(CHANGES[column]).otherwise(pl.col(column)).alias(column)
    )
    kept = KeptWalks()
    rate(RESULTS, kept=kept)
    ratings = [SPECS[0]] if column != 'home_corners' else [SPECS[3]]
    arguments = RatingArguments.from_ratings(ratings)
    before, after = (
        rating_digests(build_rating_data(frame, ratings), arguments, RESULTS.height)
        for frame in (RESULTS, changed)
    )
    assert before != after
    assert_same(rate(changed, kept=kept), rate(changed))


@pytest.mark.parametrize('change', [{'half_life': 61.5}, {'ridge': 3.5}, {'tier_gap': 0.5}])
def test_a_change_of_an_argument_is_another_walk(change):
    kept = KeptWalks()
    rate(RESULTS, [SPECS[0]], kept)
    changed = [replace(SPECS[0], **change)]
    assert_same(rate(RESULTS, changed, kept), rate(RESULTS, changed))
    assert kept.n_fitted == 2 * RESULTS['usable'].n_unique()


@pytest.mark.parametrize('days', [-3, -20, -70])
def test_walks_of_the_future_say_nothing_about_the_past(days):
    known = first_days(days)
    clean = rate(known)
    later = pl.col('usable') > known['usable'].max()
    nines = pl.when(later).then(9.0).otherwise('home_goals').alias('home_goals')
    for future in (RESULTS, RESULTS.with_columns(nines)):
        kept = KeptWalks()
        rated = rate(future, kept=kept)
        assert_same(rate(known, kept=kept), clean)
        np.testing.assert_array_equal(rated.past.log_rates[:, : known.height], clean.past.log_rates)


def test_walks_stay_within_their_bound():
    one = KeptWalks()
    rate(RESULTS, [SPECS[0]], one)
    small = KeptWalks(max_bytes=3 * one.n_bytes)
    assert_same(rate(RESULTS, kept=small), rate(RESULTS))
    assert 0 < small.n_bytes <= 3 * one.n_bytes
    assert len(small.walks) < len(SPECS)
    nothing = KeptWalks(max_bytes=0)
    assert_same(rate(RESULTS, kept=nothing), rate(RESULTS))
    assert not nothing.walks
