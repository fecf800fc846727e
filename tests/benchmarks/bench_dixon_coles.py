"""How fast the Dixon-Coles fit is beside penaltyblog's, on the same matches and weights, and whether its likelihood is as high.

    python -m tests.benchmarks.bench_dixon_coles [--repeats 30]

Each repeat times both, one after the other, from team names to fitted parameters, so that a slow moment of the machine hits both:
one fit of theirs, one of ours with the processor's caches full of theirs, and twenty of ours in a row as in a walk-forward.
penaltyblog is given its weights; we compute ours from the kick-offs within the time that is measured. One thread each.
"""

import argparse
import os
import statistics

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from tests.benchmarks.common import premier_league, timed  # noqa: E402

SEASONS = ('1516', '1617', '1718', '1819', '1920')
XI = 0.002  # penaltyblog's decay: the weight is exp(-xi days)


def main() -> None:
    import penaltyblog

    from football_pred.models.dixon_coles import DixonColes

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--repeats', type=int, default=30)
    repeats = parser.parse_args().repeats
    matches = premier_league().filter(pl.col('season').is_in(SEASONS))
    columns = [
        matches[name].to_numpy() for name in ('home_goals', 'away_goals', 'home_team', 'away_team')
    ]
    weights = np.exp(
        -XI * (matches['kickoff'].max() - matches['kickoff']).dt.total_days().to_numpy()
    )

    def theirs():
        model = penaltyblog.models.DixonColesGoalModel(*columns, weights)
        model.fit()
        return model

    def ours(ridge):
        return DixonColes(half_life=np.log(2) / XI, ridge=ridge).fit(matches)

    def twenty(ridge):
        for _ in range(20):
            ours(ridge)

    theirs()
    print(f'{len(matches)} matches, {repeats} repeats; medians of the times and of the ratios')
    for ridge in (0.0, 6.0):
        twenty(ridge)
        rows = []
        for _ in range(repeats):
            (slow, their_model), (single, model), (block, _) = (
                timed(theirs),
                timed(ours, ridge),
                timed(twenty, ridge),
            )
            rows.append((slow, single, block / 20, slow / single, slow / (block / 20)))
        slow, single, block, ratio_single, ratio_block = (
            statistics.median(column) for column in zip(*rows, strict=True)
        )
        print(
            f'penaltyblog {penaltyblog.__version__}   {1e3 * slow:6.2f} ms                     log-likelihood {their_model.loglikelihood:.6f}'
        )
        print(
            f'ours, ridge {ridge:g}, single {1e3 * single:5.2f} ms  {ratio_single:5.1f} times as fast   '
            f'log-likelihood {model.log_likelihood_:.6f}, {model.n_iterations_} steps'
        )
        print(
            f'ours, ridge {ridge:g}, in row {1e3 * block:5.2f} ms  {ratio_block:5.1f} times as fast'
        )


if __name__ == '__main__':
    main()
