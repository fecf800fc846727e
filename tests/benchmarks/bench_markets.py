"""How fast 10,000 fixtures are priced beside penaltyblog's grid objects: 1X2, totals, Asian handicaps and both teams to score.

    python -m tests.benchmarks.bench_markets [--fixtures 10000] [--repeats 7]

Each repeat times both, one after the other, so that a slow moment of the machine hits both; the figures are medians. Once from grids that are
ready, the same for both, and once from expected goals, where each makes its own grids. The prices are compared first. One thread each.
"""

import argparse
import os
import statistics

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np  # noqa: E402

from tests.benchmarks.common import timed  # noqa: E402

TOTALS = [1.5, 2.25, 2.5, 3.0, 3.5]
HANDICAPS = [-1.5, -1.0, -0.75, -0.5, 0.0, 0.25, 0.5]
MAX_GOALS = 10


def ours(grids):
    "Shape (fixtures, 3 + 2 totals + 2 handicaps + 1)."
    from football_pred.markets.pricing import handicap, totals
    from football_pred.markets.score_grid import both_to_score, outcome_probabilities

    total, spread = totals(grids, TOTALS), handicap(grids, HANDICAPS)
    return np.concatenate(
        [
            outcome_probabilities(grids),
            total.win,
            total.push,
            spread.win,
            spread.push,
            both_to_score(grids)[:, None],
        ],
        axis=1,
    )


def theirs(boxes):
    "The same numbers from penaltyblog's objects."
    rows = []
    for box in boxes:
        total = [box.totals(line) for line in TOTALS]
        spread = [box.asian_handicap_probs('home', line) for line in HANDICAPS]
        rows.append(
            [
                *box.home_draw_away,
                *(over for _, _, over in total),
                *(push for _, push, _ in total),
                *(one['win'] for one in spread),
                *(one['push'] for one in spread),
                box.btts_yes,
            ]
        )
    return np.array(rows)


def main() -> None:
    import penaltyblog
    from penaltyblog.models import FootballProbabilityGrid, create_dixon_coles_grid

    from football_pred.markets.score_grid import score_grid

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--fixtures', type=int, default=10_000)
    parser.add_argument('--repeats', type=int, default=7)
    asked = parser.parse_args()
    home, away = np.random.default_rng(0).uniform(0.4, 2.8, size=(2, asked.fixtures))
    grids = score_grid(home, away, -0.05, MAX_GOALS)

    def their_prices():
        return theirs(
            [
                FootballProbabilityGrid(*one, normalize=False)
                for one in zip(grids, home, away, strict=True)
            ]
        )

    def our_prices():
        return ours(grids)

    def their_everything():
        return theirs(
            [create_dixon_coles_grid(*one, 0.0, MAX_GOALS) for one in zip(home, away, strict=True)]
        )

    def our_everything():
        return ours(score_grid(home, away, 0.0, MAX_GOALS))

    print(
        f'{asked.fixtures} fixtures, {3 + 2 * len(TOTALS) + 2 * len(HANDICAPS) + 1} numbers each, {asked.repeats} repeats; medians'
    )
    print(
        f'largest difference between the prices {np.abs(their_prices() - our_prices()).max():.1e}'
    )
    for what, slow, fast in (
        ('grids ready', their_prices, our_prices),
        ('from rates', their_everything, our_everything),
    ):
        fast()
        rows = []
        for _ in range(asked.repeats):
            (long, _), (short, _) = timed(slow), timed(fast)
            rows.append((long, short, long / short))
        long, short, ratio = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f'{what}: penaltyblog {penaltyblog.__version__} {1e3 * long:8.1f} ms, ours {1e3 * short:6.2f} ms, {ratio:5.0f} times as fast'
        )


if __name__ == '__main__':
    main()
