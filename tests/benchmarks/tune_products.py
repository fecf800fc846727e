"""What other arguments of a product would do where it is not judged.

    python -m tests.benchmarks.tune_products goals_only [--only 'half_life None' ...] [--out params/models/tried.csv]

The goals products are compared on the first divisions of 2014/15 to 2020/21. Prices begin in 2020/21, so the price products are compared on
the second divisions of 2021/22 to 2024/25. Every candidate is the file in params/models with one argument changed (`CHANGES`); it is compared
with the file as it is written, on the same matches: below zero it is better. --out puts the differences into the file, in place of earlier
ones of the same candidates. The matches come from FOOTBALL_SHARED_DATA, as in bench_products.
"""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'POLARS_MAX_THREADS'):
    os.environ.setdefault(name, '1')

import polars as pl  # noqa: E402

from tests.benchmarks.bench_products import load_products  # noqa: E402
from tests.benchmarks.common import LEAGUES, clustered, real_matches, timed  # noqa: E402

CHANGES = {
    'goals_only': {'half_life': [None], 'ratings': 'leave one out'},
    'goals_plus_shots': {'half_life': [None], 'ratings': 'leave one out'},
    'prices_of_earlier_matches': {'ridge': [0.1, 1.0], 'ratings': 'leave one out'},
    'market_blend': {'ridge': [3, 30]},
}
KEY = ['product', 'compared_on', 'against', 'changed']


def candidates(model: object, changes: dict) -> dict:
    "The model with one argument changed at a time."
    from sklearn.base import clone

    out = {}
    for name, values in changes.items():
        now = getattr(model, name)
        if values == 'leave one out':
            named = {
                f'without {" ".join(f"{key} {value}" for key, value in one.items())}': now[:i]
                + now[i + 1 :]
                for i, one in enumerate(now)
            }
        else:
            named = {f'{name} {value}': value for value in values}
        out |= {label: clone(model).set_params(**{name: value}) for label, value in named.items()}
    return out


def main() -> None:
    from football_pred.evaluation.backtest import walk_forward
    from football_pred.evaluation.scoring import log_loss_by_match
    from football_pred.markets.score_grid import outcome_codes

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('product', choices=list(CHANGES))
    parser.add_argument('--only', nargs='+', help='names of some candidates')
    parser.add_argument('--out', type=Path)
    chosen = parser.parse_args()
    priced = chosen.product not in ('goals_only', 'goals_plus_shots')
    start, end = (
        datetime(year, 7, 1, tzinfo=UTC) for year in ((2021, 2025) if priced else (2014, 2021))
    )
    matches = real_matches().filter(pl.col('kickoff') < end)
    leagues = [
        league
        for league in matches['league'].unique(maintain_order=True)
        if (league in LEAGUES) != priced
    ]
    model = load_products([chosen.product])[chosen.product]
    models = {'as written': model} | candidates(model, CHANGES[chosen.product])
    if unknown := set(chosen.only or ()) - set(models):
        parser.error(f'{sorted(unknown)} not among the candidates {list(models)}')
    where = 'second divisions 2021/22-2024/25' if priced else 'first divisions 2014/15-2020/21'
    rows, base = [], pl.DataFrame()
    for name, candidate in models.items():
        if chosen.only and name not in ('as written', *chosen.only):
            continue
        seconds, said = timed(
            walk_forward, {name: candidate}, matches, start, end, 'day', None, leagues
        )
        codes = outcome_codes(said['home_goals'], said['away_goals'])
        losses = said.select(
            'match_id',
            'kickoff',
            loss=log_loss_by_match(said.select('p_home', 'p_draw', 'p_away'), codes),
        )
        print(
            f'{name}: {said.height:,} forecasts, log loss {losses["loss"].mean():.5f}, {seconds:.0f} s',
            flush=True,
        )
        if name == 'as written':
            base = losses.select('match_id', base='loss')
        else:
            joined = losses.join(base, on='match_id', validate='1:1')
            mean, error = clustered(joined.with_columns(pl.col('loss') - pl.col('base')), 'loss')
            rows.append((chosen.product, where, 'as written', name, f'{mean:+.5f}', f'{error:.5f}'))
    new = pl.DataFrame(rows, schema=[*KEY, 'log_loss_difference', 'standard_error'], orient='row')
    with pl.Config(
        tbl_rows=-1, fmt_str_lengths=120, tbl_width_chars=160, tbl_hide_dataframe_shape=True
    ):
        print(new.drop(KEY[:3]))
    if chosen.out:
        old = pl.read_csv(chosen.out, infer_schema=False)
        pl.concat([old.join(new, on=KEY, how='anti', maintain_order='left'), new]).write_csv(
            chosen.out
        )


if __name__ == '__main__':
    main()
