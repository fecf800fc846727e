"""How far the products are behind the average closing price, and how long every stage of a backtest takes.

    python -m tests.benchmarks.bench_products [--products goals_only ...] [--first 2122] [--last 2425] [--refit day] [--leagues E0 ...]

Every product forecasts every match of the big leagues as of the start of its day (or when its params file says), from what was known
then. RPS is divided by 2; the gap is the difference to the closing price on the same matches, the margin taken off by a common power; the
interval is clustered by week. The matches come from the folder of real data (FOOTBALL_SHARED_DATA, or ../shared/data beside the checkout).
"""

import argparse
import os
from datetime import UTC, datetime

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'POLARS_MAX_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
import yaml  # noqa: E402

from tests.benchmarks.common import LEAGUES, ROOT, clustered, real_matches, timed  # noqa: E402


def load_products(names: list[str]) -> dict:
    "Unfitted models of params/models by name."
    from football_pred.models.serialization import new_model

    written = {
        name: yaml.safe_load((ROOT / f'params/models/{name}.yaml').read_text()) for name in names
    }
    return {name: new_model(one['class'], one.get('arguments')) for name, one in written.items()}


def gaps(forecasts: pl.DataFrame, market: np.ndarray, by: list[str]) -> pl.DataFrame:
    "Mean difference in RPS to the market by group, with its standard error clustered by week and the 95 % interval of that."
    from football_pred.evaluation.scoring import log_loss_by_match, rps_by_match
    from football_pred.markets.score_grid import outcome_codes

    outcomes = outcome_codes(forecasts['home_goals'], forecasts['away_goals'])
    said = forecasts.select('p_home', 'p_draw', 'p_away').to_numpy()
    rps = rps_by_match(said, outcomes)
    rows = forecasts.select(*by, 'kickoff').with_columns(
        rps=rps,
        log_loss=log_loss_by_match(said, outcomes),
        gap=rps - rps_by_match(market, outcomes),
    )
    out = []
    for key, group in rows.group_by(by, maintain_order=True):
        mean, error = clustered(group, 'gap')
        out.append(
            (
                *key,
                group.height,
                group['rps'].mean(),
                group['log_loss'].mean(),
                mean,
                error,
                mean - 1.96 * error,
                mean + 1.96 * error,
            )
        )
    return pl.DataFrame(
        out, schema=[*by, 'matches', 'rps', 'log_loss', 'gap', 'se', 'low', 'high'], orient='row'
    )


def main() -> None:
    from football_pred.evaluation.backtest import walk_forward
    from football_pred.models.stacking import probabilities_from_prices
    from football_pred.ratings.rating_targets import CLOSING_COLUMNS, OPENING_COLUMNS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--products',
        nargs='+',
        default=['goals_only', 'goals_plus_shots', 'prices_of_earlier_matches', 'market_blend'],
    )
    parser.add_argument('--leagues', nargs='+', default=list(LEAGUES))
    parser.add_argument('--first', default='2122')
    parser.add_argument('--last', default='2425')
    parser.add_argument('--refit', default='day')
    chosen = parser.parse_args()
    seconds, matches = timed(real_matches)
    print(f'{matches.height:,} matches read in {seconds:.1f} s')
    forecasts = []
    for name, model in load_products(chosen.products).items():
        seconds, said = timed(
            walk_forward,
            {name: model},
            matches,
            datetime(2000 + int(chosen.first[:2]), 7, 1, tzinfo=UTC),
            None,
            chosen.refit,
        )
        forecasts.append(said)
        print(f'{name}: {said.height:,} forecasts in {seconds:.1f} s', flush=True)
    said = pl.concat(forecasts).filter(
        pl.col('league').is_in(chosen.leagues),
        pl.col('season').is_between(pl.lit(chosen.first), pl.lit(chosen.last)),
    )
    said = said.join(
        matches.select('match_id', *OPENING_COLUMNS, *CLOSING_COLUMNS),
        on='match_id',
        how='left',
        maintain_order='left',
    )
    closing, opening = (
        probabilities_from_prices(said, columns) for columns in (CLOSING_COLUMNS, OPENING_COLUMNS)
    )
    priced = np.isfinite(closing[:, 0]) & np.isfinite(opening[:, 0])
    said, closing, opening = said.filter(pl.Series(priced)), closing[priced], opening[priced]
    market = said.filter(model=chosen.products[0])
    first = np.flatnonzero((said['model'] == chosen.products[0]).to_numpy())
    named = [
        market.with_columns(
            pl.Series(f'p_{outcome}', values[first, i])
            for i, outcome in enumerate(('home', 'draw', 'away'))
        ).with_columns(model=pl.lit(name))
        for name, values in (('opening price', opening), ('closing price', closing))
    ]
    both, against = (
        pl.concat([said, *named]),
        np.concatenate([closing, closing[first], closing[first]]),
    )
    with pl.Config(
        tbl_rows=-1,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        float_precision=5,
        tbl_width_chars=140,
    ):
        print('Gap to the closing price'), print(gaps(both, against, ['model']))
        print('Gap to the opening price'), print(gaps(said, opening, ['model']))
        (
            print('By league'),
            print(
                gaps(said, closing, ['model', 'league']).pivot(
                    'league', index='model', values='gap'
                )
            ),
        )
        (
            print('By season'),
            print(
                gaps(said, closing, ['model', 'season']).pivot(
                    'season', index='model', values='gap'
                )
            ),
        )


if __name__ == '__main__':
    main()
