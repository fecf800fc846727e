"""Choose the arguments of a product where it is not judged, and keep the trace.

    python -m tests.benchmarks.tune_products goals_only [--out params/models/tried.csv]

The goals products are compared on the first divisions of 2014/15 to 2020/21. Prices begin in 2020/21, so the price products are compared on
the second divisions of 2021/22 to 2024/25. Every candidate is the file in params/models with some arguments changed (`CHANGES`); `tune`
forecasts with each of them and scores each season. The matches come from FOOTBALL_SHARED_DATA, as in bench_products.
"""
import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'POLARS_MAX_THREADS'): os.environ.setdefault(name, '1')

import polars as pl  # noqa: E402

from tests.benchmarks.bench_products import LEAGUES, ROOT, load_products, real_matches  # noqa: E402

CHANGES = {
    'goals_only': {'half_life': [2500, None], 'ratings': 'leave one out'},
    'goals_plus_shots': {'half_life': [2500, None], 'ratings': 'leave one out'},
    'prices_of_earlier_matches': {'ridge': [0.3, 0.1, 1.0], 'ratings': 'leave one out'},
    'market_blend': {'ridge': [10, 3, 30, 0.3]}}


def candidates(model: object, changes: dict) -> dict:
    "The model as it is written, and with one argument changed at a time."
    from sklearn.base import clone
    out = {'as written': model}
    for name, values in changes.items():
        now = getattr(model, name)
        for value in ([now[:i] + now[i + 1:] for i in range(len(now))] if values == 'leave one out' else values):
            label = f'without {now[[one in value for one in now].index(False)]}' if values == 'leave one out' else f'{name}={value}'
            if value != now: out[label] = clone(model).set_params(**{name: value})
    return out


def main() -> None:
    from football_pred.backtest import walk_forward
    from football_pred.tuning import choose_by_season

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('product', choices=list(CHANGES))
    parser.add_argument('--out', type=Path)
    chosen = parser.parse_args()
    priced = chosen.product not in ('goals_only', 'goals_plus_shots')
    matches = real_matches(Path(os.environ.get('FOOTBALL_SHARED_DATA', ROOT.parent/'shared/data')))
    start, end = (datetime(year, 7, 1, tzinfo=UTC) for year in ((2021, 2025) if priced else (2014, 2021)))
    models, parts = candidates(load_products([chosen.product])[chosen.product], CHANGES[chosen.product]), []
    for name, model in models.items():
        said = walk_forward({name: model}, matches, start, end, refit='day')
        parts.append(said.filter(pl.col('league').is_in(LEAGUES) != priced))
        print(name, f'{parts[-1].height:,} forecasts', flush=True)
    _, trace = choose_by_season(pl.concat(parts), list(models))
    trace = trace.with_columns(product=pl.lit(chosen.product))
    last = trace.filter(season=trace['season'][-1]).select('candidate', 'matches', pl.col('log_loss').round(5)).sort('log_loss')
    with pl.Config(tbl_rows=-1, fmt_str_lengths=120, tbl_width_chars=160): print('Log loss over the seasons before the last'), print(last)
    if chosen.out: trace.write_csv(chosen.out, float_precision=6)


if __name__ == '__main__': main()
