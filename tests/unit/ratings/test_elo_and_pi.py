"Elo and pi-ratings: no look-ahead, conserved points, and joins as of a time."

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from football_pred.ratings.elo_and_pi import (
    Elo,
    PiRatings,
    as_utc,
    known_results,
    point_in_time_join,
)
from tests.support.look_ahead import CUTOFFS, awkward_league, moved_columns, scramble, truncate

RATINGS = {'elo': Elo(), 'elo with carry': Elo(season_carryover=0.8), 'pi': PiRatings()}


@pytest.fixture(scope='module', name='matches')
def matches_() -> pl.DataFrame:
    return awkward_league()


@pytest.mark.parametrize('system', RATINGS.values(), ids=RATINGS)
@pytest.mark.parametrize('change', [scramble, truncate])
@pytest.mark.parametrize('cutoff', CUTOFFS, ids=str)
def test_no_rating_looks_ahead(system, change, cutoff, matches):
    assert moved_columns(system.rate_matches, matches, cutoff, change) == set()


def test_carry_draws_ratings_to_the_start_between_seasons(matches):
    first, second = matches.partition_by('season', maintain_order=True)
    elo = Elo()
    elo.rate_matches(first)
    end = dict(elo.ratings_.iter_rows())
    upcoming = second.with_columns(status=pl.lit('scheduled'))
    for carry in (1, 0.5):
        rated = (
            Elo(season_carryover=carry)
            .rate_matches(pl.concat([first, upcoming]))
            .join(upcoming, on='match_id')
        )
        expected = [1500 + carry * (end.get(team, 1500) - 1500) for team in rated['home_team']]
        assert rated['home_elo'].to_list() == pytest.approx(expected)
    # A match before the first result of a season has the rating that the first result starts from.
    half = Elo(season_carryover=0.5)
    rated = half.rate_matches(matches).join(
        known_results(second), on='match_id', maintain_order='right'
    )
    history = half.history_.filter(pl.col('match_id') == rated['match_id'][0])['elo']
    assert history.sum() == pytest.approx(rated['home_elo'][0] + rated['away_elo'][0])


def test_points_are_conserved(matches):
    elo = Elo()
    pi = PiRatings()
    for system in (elo, pi):
        system.rate_matches(matches)
    assert elo.ratings_['elo'].mean() == pytest.approx(1500)
    assert pi.ratings_.select(
        pl.sum_horizontal('pi_home', 'pi_away').sum()
    ).item() == pytest.approx(0, abs=1e-12)
    assert elo.history_.height == pi.history_.height == 2 * known_results(matches).height
    assert elo.ratings_['elo'].is_sorted(descending=True)


def test_point_in_time_join_against_a_loop():
    rng = np.random.default_rng(0)
    start = datetime(2024, 1, 1, tzinfo=UTC)

    def frame(n: int, time: str) -> pl.DataFrame:
        hours = rng.integers(0, 40, n).tolist()
        return pl.DataFrame(
            {
                'team': rng.choice(list('abcd'), n).tolist(),
                time: [start + timedelta(hours=h) for h in hours],
            }
        )

    facts = frame(60, 'known_at').with_row_index('fact')
    entities = frame(80, 'asked_at')
    joined = point_in_time_join(entities, facts, ['team'])
    assert joined.drop('fact').equals(entities)
    for entity, fact in zip(entities.iter_rows(named=True), joined['fact'], strict=True):
        earlier = [
            f
            for f in facts.to_dicts()
            if f['team'] == entity['team'] and f['known_at'] <= entity['asked_at']
        ]
        assert fact == (
            max(earlier, key=lambda f: (f['known_at'], f['fact']))['fact'] if earlier else None
        )


def test_without_results_every_team_is_average(matches):
    scheduled = matches.with_columns(status=pl.lit('scheduled'))
    assert Elo().rate_matches(scheduled)['home_elo'].unique().to_list() == [1500]
    assert PiRatings().rate_matches(scheduled)['pi_difference'].unique().to_list() == [0]


@pytest.mark.parametrize('system', RATINGS.values(), ids=RATINGS)
def test_row_order_does_not_matter(system, matches):
    shuffled = matches.sample(fraction=1, shuffle=True, seed=5)
    assert system.rate_matches(shuffled).equals(system.rate_matches(matches))


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValueError, match='no time zone'):
        as_utc(datetime(2022, 1, 1))  # noqa: DTZ001
