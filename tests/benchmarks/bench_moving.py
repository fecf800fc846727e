"""What results within a round are worth: forecasts that every result moves, against forecasts of the morning of the round.

    python -m tests.benchmarks.bench_moving [--product goals_only] [--seasons 2324 2425]

A round is a run of match days without a free day between them. Its morning is the start of its first day; a forecast that moves is of the start of the
match's own day, so it knows the results of the days before. The same weights forecast both, and the same matches are compared: those that are not on the
first day of their round. Intervals: bootstrap by week. The matches come from the folder of real data (FOOTBALL_SHARED_DATA, or ../shared/data beside
the checkout).
"""

import argparse
import os
from datetime import timedelta

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'POLARS_MAX_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from football_pred.evaluation.scoring import (  # noqa: E402
    bootstrap_by_week,
    log_loss_by_match,
    rps_by_match,
)
from football_pred.markets.score_grid import outcome_codes  # noqa: E402
from football_pred.models.serialization import new_model  # noqa: E402
from tests.benchmarks.common import LEAGUES, ROOT, real_matches, timed  # noqa: E402


def with_rounds(matches: pl.DataFrame) -> pl.DataFrame:
    "Add the start of the day of every match, and of the first day of its round."
    day = pl.col('kickoff').dt.truncate('1d')
    days = matches.select('league', day=day).unique().sort('league', 'day')
    is_first = (pl.col('day').diff().over('league') > timedelta(days=1)).fill_null(True)
    first = pl.when(is_first).then('day').forward_fill().over('league')
    return matches.with_columns(day=day).join(
        days.with_columns(morning=first), on=['league', 'day'], maintain_order='left'
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument('--product', default='goals_only')
    asked.add_argument('--seasons', nargs='+', default=['2324', '2425'])
    options = asked.parse_args()
    history = real_matches()
    targets = with_rounds(history).filter(
        pl.col('season').is_in(options.seasons),
        pl.col('league').is_in(LEAGUES),
        pl.col('day') > pl.col('morning'),
    )
    model = new_model(options.product, products_folder=ROOT / 'params/models')
    outcomes = outcome_codes(targets['home_goals'], targets['away_goals'])
    weeks = targets['day'].dt.truncate('1w').to_numpy()
    scores = {}
    for column in ('morning', 'day'):
        moments = targets.with_columns(as_of=pl.col(column))
        seconds, said = timed(model.predict_walk_forward, history, moments)
        scores[column] = (rps_by_match(said, outcomes), log_loss_by_match(said, outcomes))
        means = [score.mean() for score in scores[column]]
        print(f'as of the {column}: RPS {means[0]:.5f}, log loss {means[1]:.5f} ({seconds:.0f} s)')
    print(f'{targets.height:,} matches that are not on the first day of their round')
    for position, name in enumerate(('RPS', 'log loss')):
        change = scores['day'][position] - scores['morning'][position]
        interval = bootstrap_by_week(change, weeks)
        shown = ' to '.join(f'{end:+.5f}' for end in interval) if interval else 'too few weeks'
        print(f'{name}, moved less morning: {np.mean(change):+.5f} ({shown})')


if __name__ == '__main__':
    main()
