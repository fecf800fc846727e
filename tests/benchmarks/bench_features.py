"""How long all features of 200,000 matches take, whether that grows in proportion, and how a few of them compare with pandas.

    python -m tests.benchmarks.bench_features [--repeats 3]

Matches of five countries, both tiers, repeated under other league codes and club names until there are enough. pandas makes eight of the
features, the rolling means over five matches of points, goals for and goals against and the points over ten, of both teams, with groupby and
rolling on a frame of team rows; ours makes the same from
`team_form` and a look-up by moment. The values are compared before the times. Alternated side by side, medians, one thread.
"""

import argparse
import os
import statistics
from datetime import UTC, datetime

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'POLARS_MAX_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from tests.benchmarks.common import real_matches, timed  # noqa: E402

AT = datetime(2026, 6, 1, tzinfo=UTC)
COMPARED = {
    'points_5': 'points',
    'goals_for_5': 'scored',
    'goals_against_5': 'conceded',
    'points_10': 'points',
}


def repeated(matches: pl.DataFrame, wanted: int) -> pl.DataFrame:
    "So many matches: copies in which leagues, clubs and matches have another name."
    copies = [
        matches.with_columns(
            pl.col(name) + f' {i}' for name in ('match_id', 'league', 'home_team', 'away_team')
        )
        for i in range(-(-wanted // matches.height))
    ]
    return pl.concat(copies).head(wanted)


def with_pandas(frame):
    "Rolling means of both teams before each match."
    import pandas as pd

    sides = [
        pd.DataFrame(
            {
                'row': np.arange(len(frame)),
                'team': frame[f'{us}_team'],
                'side': us,
                'kickoff': frame['kickoff'],
                'scored': frame[f'{us}_goals'],
                'conceded': frame[f'{them}_goals'],
            }
        )
        for us, them in (('home', 'away'), ('away', 'home'))
    ]
    rows = pd.concat(sides).sort_values(['kickoff', 'row'], kind='stable').reset_index(drop=True)
    rows['points'] = np.select(
        [rows['scored'] > rows['conceded'], rows['scored'] == rows['conceded']], [3.0, 1.0], 0.0
    )
    teams = rows.groupby('team', sort=False)
    for name, column in COMPARED.items():
        n = int(name.rsplit('_', 1)[1])
        mean = teams[column].rolling(n).mean().reset_index(level=0, drop=True)
        rows[name] = mean.groupby(rows['team'], sort=False).shift()
    return pd.concat(
        [
            rows[rows['side'] == side].set_index('row')[list(COMPARED)].add_prefix(f'{side}_')
            for side in ('home', 'away')
        ],
        axis=1,
    ).sort_index()


def ours(matches: pl.DataFrame) -> pl.DataFrame:
    "The same features by the moment at which they were known."
    from football_pred.features.build import team_form, team_results
    from football_pred.ratings.elo_and_pi import feature_time, known_results, point_in_time_join

    facts = team_form(team_results(known_results(matches))).select('team', 'known_at', *COMPARED)
    asked = matches.with_columns(feature_time()).select(
        'home_team', 'away_team', asked_at='feature_time'
    )
    found = {
        side: point_in_time_join(asked.select('asked_at', team=f'{side}_team'), facts, ['team'])
        for side in ('home', 'away')
    }
    return pl.concat(
        [
            frame.select(pl.col(list(COMPARED)).name.prefix(f'{side}_'))
            for side, frame in found.items()
        ],
        how='horizontal',
    )


def main() -> None:
    from football_pred.features.build import FEATURES, build_features

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--repeats', type=int, default=3)
    repeats = parser.parse_args().repeats
    real = real_matches('1993-07-01')
    sizes = (25_000, 50_000, 100_000, 200_000)
    inputs = {size: repeated(real, size) for size in sizes}
    build_features(inputs[25_000], AT)
    taken = {size: [] for size in sizes}
    for _ in range(repeats):
        for size in sizes:
            taken[size].append(timed(build_features, inputs[size], AT)[0])
    for size in sizes:
        seconds = statistics.median(taken[size])
        print(
            f'{size:7,} matches, {len(FEATURES)} features: {seconds:5.2f} s, {1e6 * seconds / size:4.1f} microseconds a match'
        )
    frame = inputs[100_000].sort('kickoff', 'match_id')
    pandas = frame.select(
        'home_team', 'away_team', 'home_goals', 'away_goals', 'kickoff'
    ).to_pandas()
    theirs, mine = with_pandas(pandas), ours(frame)
    differ = max(
        np.nanmax(np.abs(theirs[name].to_numpy() - mine[name].to_numpy())) for name in mine.columns
    )
    same = all(
        (theirs[name].isna().to_numpy() == mine[name].is_null().to_numpy()).all()
        for name in mine.columns
    )
    rows = []
    for _ in range(repeats + 2):
        (slow, _), (fast, _) = timed(with_pandas, pandas), timed(ours, frame)
        rows.append((slow, fast, slow / fast))
    slow, fast, ratio = (statistics.median(column) for column in zip(*rows, strict=True))
    print(
        f'{2 * len(COMPARED)} of them, 100,000 matches: pandas {slow:.2f} s, ours {fast:.2f} s, {ratio:.1f} times as fast; '
        f'largest difference {differ:.1e}, {"the same" if same else "not the same"} are empty'
    )


if __name__ == '__main__':
    main()
