"""How fast a weekly walk-forward of Dixon-Coles is beside refits with penaltyblog, on the same matches and weights, and whether its fits are as good.

    python -m tests.benchmarks.bench_walk_forward [--sample 8]

Five leagues, 2020/21 to 2024/25: refitted on every Monday that a week with matches begins with, on all matches of the league since 2015/16.
Ours is carried forward, so all its fits are made and timed, from team names to parameters; penaltyblog is timed in a sample of weeks spread
over the range, each beside our fit of the same week, which has its caches full of theirs. One thread each. The walk has the ridge of the
defaults; the log-likelihoods are compared with a ridge of 0.0001, because penaltyblog has none and a club that has not yet scored or
conceded has no finite strength without.
The matches come from the folder of real data (FOOTBALL_SHARED_DATA, or ../shared/data beside the checkout).
"""

import argparse
import os
import statistics
import time
from datetime import UTC, datetime

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'POLARS_MAX_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from tests.benchmarks.bench_dixon_coles import XI  # noqa: E402
from tests.benchmarks.common import LEAGUES, real_matches, timed  # noqa: E402

START = datetime(2020, 7, 1, tzinfo=UTC)


def gradient_error(theta, cells):
    "Largest relative difference between the gradient and central differences, away from the maximum."
    from football_pred.models.dixon_coles import derivatives, log_likelihood

    theta = theta + np.random.default_rng(0).normal(scale=0.01, size=len(theta))
    gradient, numerical = derivatives(theta, cells).gradient, np.empty(len(theta))
    for i in range(len(theta)):
        step = np.eye(len(theta))[i] * 1e-4
        far, near = (
            log_likelihood(theta + k * step, cells) - log_likelihood(theta - k * step, cells)
            for k in (2, 1)
        )
        numerical[i] = (8 * near - far) / 12e-4
    return np.abs(gradient - numerical).max() / np.abs(gradient).max()


def main() -> None:
    import penaltyblog

    from football_pred.models.dixon_coles import DixonColes
    from football_pred.models.online_dixon_coles import OnlineDixonColes
    from football_pred.models.pair_tables import build_pair_tables

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--sample', type=int, default=8, help='weeks of each league in which penaltyblog is timed'
    )
    sample = parser.parse_args().sample
    matches = real_matches('2015-07-01')
    columns = ['home_team', 'away_team', 'home_goals', 'away_goals', 'kickoff']
    rows, ours, steps, gaps, gradients, cold, half_life = [], [], [], [], [], 0.0, np.log(2) / XI
    for league in LEAGUES:
        of_league = matches.filter(league=league).select(
            *columns, week=pl.col('kickoff').dt.truncate('1w')
        )
        weeks = of_league.filter(pl.col('kickoff') >= START)['week'].unique().sort().to_list()
        chosen = {weeks[round(i)] for i in np.linspace(0, len(weeks) - 1, sample)}
        model, since = OnlineDixonColes(half_life=half_life), datetime(2000, 1, 1, tzinfo=UTC)
        for week in weeks:
            new, known = (
                of_league.filter(pl.col('week').is_between(since, week, closed='left')),
                of_league.filter(pl.col('week') < week),
            )
            since = week
            if week in chosen:
                arrays = [
                    known[name].to_numpy()
                    for name in ('home_goals', 'away_goals', 'home_team', 'away_team')
                ]
                weights = np.exp(
                    -XI * ((week - known['kickoff']).dt.total_seconds().to_numpy() / 86_400)
                )
                theirs = penaltyblog.models.DixonColesGoalModel(*arrays, weights)
                slow, _ = timed(theirs.fit)
            start = time.perf_counter()
            model.learn(new, week)
            ours.append(time.perf_counter() - start)
            steps.append(model.n_iterations_)
            if week in chosen:
                rows.append((slow, ours[-1], known.height))
                gaps.append(
                    DixonColes(half_life, ridge=1e-4).fit(known, week).log_likelihood_
                    - theirs.loglikelihood
                )
                cells = build_pair_tables(known, week, half_life)
                theta = np.concatenate(
                    [
                        model.attack_,
                        model.defence_,
                        [model.level_, model.home_advantage_, model.rho_],
                    ]
                )
                gradients.append(gradient_error(theta, cells))
                fresh = OnlineDixonColes(half_life=half_life).fit(known, week)
                cold = max(
                    cold,
                    *(
                        np.abs(np.subtract(getattr(model, name), getattr(fresh, name))).max()
                        for name in ('attack_', 'defence_', 'rho_')
                    ),
                )
    slow, fast, sizes = (np.array(column) for column in zip(*rows, strict=True))
    print(
        f'{len(ours)} weekly fits of {len(LEAGUES)} leagues, {len(steps) / len(ours):.0%} converged, {np.mean(steps):.2f} steps each; '
        f'{sum(ours):.2f} s in all, median {1e3 * statistics.median(ours):.2f} ms'
    )
    print(
        f'sample: {len(rows)} weeks, {sizes.min()} to {sizes.max()} matches; medians: penaltyblog {penaltyblog.__version__} '
        f'{1e3 * np.median(slow):.1f} ms, '
        f'ours {1e3 * np.median(fast):.2f} ms, {statistics.median(slow / fast):.0f} times as fast (quarter {np.quantile(slow / fast, 0.25):.0f}, '
        f'three quarters {np.quantile(slow / fast, 0.75):.0f})'
    )
    print(
        f'all {len(ours)} fits, theirs at the mean of the sample: {np.mean(slow) * len(ours):.0f} s against {sum(ours):.2f} s, '
        f'{np.mean(slow) * len(ours) / sum(ours):.0f} times as fast'
    )
    print(
        f'log-likelihood less that of penaltyblog: {min(gaps):+.2e} to {max(gaps):+.2e}; '
        f'at least as high in {sum(gap >= 0 for gap in gaps)} of {len(gaps)}'
    )
    print(
        f'gradient against differences: {max(gradients):.1e}; carried against fitted from the start: {cold:.1e}'
    )


if __name__ == '__main__':
    main()
