"Leagues and changes that show whether features and ratings look ahead."

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.ratings.elo_and_pi import feature_time
from tests.support.factories import with_numbers

AFTER_ALL = datetime(2030, 1, 1, tzinfo=UTC)
# A Sunday, a Saturday between two kick-offs and their results, and midnight itself.
CUTOFFS = [
    datetime(2022, 9, 4, 20, tzinfo=UTC),
    datetime(2022, 10, 15, 15, 40, tzinfo=UTC),
    datetime(2022, 10, 29, tzinfo=UTC),
]


def awkward_league() -> pl.DataFrame:
    "Two seasons of eight teams: late results, two matches a day, neutral venues, unknown times."
    matches = sample_matches(
        sample_strengths(8, 2, seed=3), n_seasons=2, n_promoted=1, n_teams=8, seed=3
    ).with_row_index('i')
    day = pl.col('kickoff').dt.truncate('1d')
    matches = matches.with_columns(
        # Some matches are played a week later, when both teams play again; some have no time.
        kickoff=pl.when(pl.col('i') % 11 == 5)
        .then(pl.col('kickoff') + timedelta(days=7))
        .when(pl.col('i') % 7 == 3)
        .then(day)
        .otherwise('kickoff'),
        kickoff_known=pl.col('i') % 7 != 3,
        neutral=pl.col('i') % 9 == 4,
    )
    matches = with_numbers(matches)
    # Some results become known days later, two of them after the next match of the team.
    late = (
        pl.when(pl.col('i') % 13 == 6)
        .then(timedelta(days=9))
        .when(pl.col('i') % 5 == 2)
        .then(timedelta(hours=30))
        .otherwise(timedelta(hours=2))
    )
    exceptions = {'postponed': 40, 'cancelled': 47, 'awarded': 55, 'abandoned': 63}
    status = pl.col('status')
    not_played = [exceptions[name] for name in ('postponed', 'cancelled', 'abandoned')]
    without_result = pl.col('i').is_in(not_played)
    for name, i in exceptions.items():
        status = pl.when(pl.col('i') == i).then(pl.lit(name)).otherwise(status)
    return (
        matches.with_columns(
            date=pl.col('kickoff').dt.date(),
            result_known_at=pl.col('kickoff') + late,
            status=status,
        )
        .with_columns(
            pl.when(without_result).then(None).otherwise(name).alias(name)
            for name in ('home_goals', 'away_goals', 'result_known_at')
        )
        .sort('kickoff', 'match_id')
        .drop('i')
    )


def scramble(matches: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    "Other goals, shots, corners and prices, where they became known after the cutoff."
    rng = np.random.default_rng(1)
    later = pl.col('result_known_at') > cutoff
    priced = pl.col('opening_known_at') > cutoff
    added = {
        f'{side}_{name}': pl.Series(rng.integers(1, 7, matches.height))
        for name in ('goals', 'shots_on_target', 'corners')
        for side in ('home', 'away')
    }
    factors = {
        f'opening_{outcome}': pl.Series(rng.uniform(1.1, 2, matches.height))
        for outcome in ('home', 'draw', 'away')
    }
    return matches.with_columns(
        *[
            pl.when(later).then(pl.col(name) + more).otherwise(name).alias(name)
            for name, more in added.items()
        ],
        *[
            pl.when(priced).then(pl.col(name) * factor).otherwise(name).alias(name)
            for name, factor in factors.items()
        ],
    )


def truncate(matches: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    "Matches whose results were known at the cutoff."
    return matches.filter(pl.col('result_known_at') <= cutoff)


def moved_columns(
    build: Callable[[pl.DataFrame], pl.DataFrame],
    matches: pl.DataFrame,
    cutoff: datetime,
    change: Callable,
) -> set[str]:
    "Columns of `build` that change up to the cutoff, when later results change."
    changed = change(matches, cutoff)
    times = (
        matches.filter(feature_time() <= cutoff)
        .join(changed, on='match_id', how='semi')
        .select('match_id')
    )
    assert times.height > 20
    before, after = (
        build(frame).join(times, on='match_id', how='semi').sort('match_id')
        for frame in (matches, changed)
    )
    assert before.height == after.height == times.height
    bits = [
        {
            name: frame[name].cast(pl.Float64).fill_null(-1e300).to_numpy().tobytes()
            for name in frame.columns
            if frame[name].dtype.is_numeric()
        }
        for frame in (before, after)
    ]
    return {name for name in bits[0] if bits[0][name] != bits[1][name]}
