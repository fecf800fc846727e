"""How long the rest of a season takes: 10,000 simulations of the second half of a Premier League season, and how time grows with their number.

    python -m tests.benchmarks.bench_simulate [--simulations 10000] [--repeats 7]

Beside it a plain loop over simulations on the same grids, of which 20 are timed and scaled up, alternated with ours. Medians; one thread.
"""

import argparse
import os
import statistics
import time

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from tests.benchmarks.common import premier_league, timed  # noqa: E402


def loop(before, home, away, grids, teams, simulations, rng):
    "One simulation after the other: a score for each fixture, points, goal difference, order."
    size, orders = grids.shape[1], []
    cells = [grid.ravel() / grid.sum() for grid in grids]
    for _ in range(simulations):
        table = {team: list(start) for team, start in before.items()}
        for h, a, chances in zip(home, away, cells, strict=True):
            x, y = divmod(rng.choice(size * size, p=chances), size)
            for team, scored, conceded in ((h, x, y), (a, y, x)):
                table[team][0] += 3 * (scored > conceded) + (scored == conceded)
                table[team][1] += scored - conceded
                table[team][2] += scored
        orders.append(sorted(teams, key=lambda team, table=table: table[team], reverse=True))
    return orders


def main() -> None:
    from football_pred.forecasts.season_simulation import (
        estimate_strength_uncertainty,
        simulate_season,
    )
    from football_pred.forecasts.standings import league_table, remaining_fixtures
    from football_pred.models.dixon_coles import DixonColes

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--simulations', type=int, default=10_000)
    parser.add_argument('--repeats', type=int, default=7)
    asked = parser.parse_args()
    matches = premier_league()
    half = matches.filter(season='2425').head(190)
    model = DixonColes().fit(matches.filter(pl.col('kickoff') <= half['kickoff'].max()))
    left = remaining_fixtures(half)
    grids, unsure = model.predict_grid(left), estimate_strength_uncertainty(model.strengths())
    table = league_table(half)
    before = {
        row[0]: row[1:]
        for row in table.select('team', 'points', 'goal_difference', 'goals_for').iter_rows()
    }
    rng = np.random.default_rng(0)

    def ours(simulations, league='E0', uncertainty=None):
        return simulate_season(half, left, grids, league, simulations, uncertainty)

    print(f'{len(left)} fixtures of {len(table)} teams, {asked.repeats} repeats; medians')
    cases = (
        ('strengths certain', {}),
        ('strengths uncertain', {'uncertainty': unsure}),
        ('head to head first', {'league': 'SP1'}),
    )
    for what, options in cases:
        ours(100, **options)
        rows = []
        for _ in range(asked.repeats):
            slow, _ = timed(
                loop,
                before,
                left['home_team'],
                left['away_team'],
                grids,
                table['team'].to_list(),
                20,
                rng,
            )
            few, _ = timed(lambda options=options: ours(asked.simulations // 10, **options))
            many, _ = timed(lambda options=options: ours(asked.simulations, **options))
            rows.append(
                (many, few, slow * asked.simulations / 20, slow * asked.simulations / 20 / many)
            )
        many, few, slow, ratio = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f'{what:20} {asked.simulations} simulations {1e3 * many:6.0f} ms, {asked.simulations // 10} {1e3 * few:5.0f} ms; a plain loop {slow:5.1f} s, '
            f'{ratio:4.0f} times as long'
        )


if __name__ == '__main__':
    start = time.perf_counter()
    main()
    print(f'{time.perf_counter() - start:.0f} s in all')
