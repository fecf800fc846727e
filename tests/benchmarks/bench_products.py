"""How far the products are behind the average closing price, and how long every stage of a backtest takes.

    python tests/benchmarks/bench_products.py [--products goals_only ...] [--first 2122] [--last 2425] [--refit day] [--leagues E0 ...]

Every product forecasts every match of the big leagues as of the start of its day (or when its params file says), from what was known
then. RPS is divided by 2; the gap is the difference to the closing price on the same matches, the margin taken off by a common power; the
interval is clustered by week. The matches come from the folder of real data (FOOTBALL_SHARED_DATA, or ../shared/data beside the checkout).
"""
import argparse
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'POLARS_MAX_THREADS'): os.environ.setdefault(name, '1')

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
import yaml  # noqa: E402

ROOT = Path(__file__).parents[2]
LEAGUES = ('E0', 'SP1', 'I1', 'D1', 'F1')
COUNTED = {'home_shots': 'hs', 'away_shots': 'as', 'home_shots_on_target': 'hst', 'away_shots_on_target': 'ast', 'home_corners': 'hc',
           'away_corners': 'ac'}
PRICES = {'opening_home': 'AvgH', 'opening_draw': 'AvgD', 'opening_away': 'AvgA', 'closing_home': 'AvgCH', 'closing_draw': 'AvgCD',
          'closing_away': 'AvgCA'}


def read_prices(path: Path) -> pl.DataFrame:
    "Average opening and closing prices of one file, by league, season and teams."
    raw = pl.read_csv(path, infer_schema=False, encoding='utf8-lossy')
    raw = raw.rename({raw.columns[0]: 'league'}).filter(pl.col('HomeTeam').is_not_null())
    return raw.select('league', season=pl.lit(path.stem[-4:]), home_team='HomeTeam', away_team='AwayTeam',
                      **{name: pl.col(column).cast(pl.Float64, strict=False) for name, column in PRICES.items()})


def real_matches(folder: Path, since: str = '2000-07-01') -> pl.DataFrame:
    "Matches of five countries, both divisions, in the form of a matches frame; a result counts as known at the end of its day."
    table = pl.read_parquet(folder/'two_tiers_1993_2025.parquet').filter(pl.col('date') >= pl.lit(since).str.to_datetime())
    moment = pl.col('date').cast(pl.Datetime('us')).dt.replace_time_zone('UTC')
    matches = table.select(
        'league', season=pl.col('season').str.slice(2, 2) + pl.col('season').str.slice(5, 2), home_team='home', away_team='away',
        kickoff=moment + pl.duration(hours=15), kickoff_known=pl.lit(False), date=pl.col('date').cast(pl.Date), neutral=pl.lit(False),
        status=pl.lit('finished'), home_goals=pl.col('fthg').cast(pl.Int64), away_goals=pl.col('ftag').cast(pl.Int64),
        result_known_at=moment + pl.duration(days=1), **{name: pl.col(column).cast(pl.Int64) for name, column in COUNTED.items()})
    prices = pl.concat([read_prices(path) for path in sorted((folder/'football_data_uk').glob('*_*.csv'))])
    matches = matches.join(prices, on=['league', 'season', 'home_team', 'away_team'], how='left', maintain_order='left')
    priced = pl.col('opening_home').is_not_null()
    return matches.with_columns(
        match_id=pl.concat_str('league', 'season', 'home_team', 'away_team', separator='-') + pl.col('date').dt.strftime('-%j'),
        opening_known_at=pl.when(priced).then(pl.col('kickoff') - timedelta(hours=20))).sort('kickoff', 'match_id')


def load_products(names: list[str]) -> dict:
    "Unfitted models of params/models by name."
    from football_pred.models import new_model
    written = {name: yaml.safe_load((ROOT/f'params/models/{name}.yaml').read_text()) for name in names}
    return {name: new_model(one['class'], one.get('arguments')) for name, one in written.items()}


def gaps(forecasts: pl.DataFrame, market: np.ndarray, by: list[str]) -> pl.DataFrame:
    "Mean difference in RPS to the market by group, with its standard error clustered by week and the 95 % interval of that."
    from football_pred.goals import outcome_codes
    from football_pred.scoring import log_loss_by_match, rps_by_match
    outcomes = outcome_codes(forecasts['home_goals'], forecasts['away_goals'])
    said = forecasts.select('p_home', 'p_draw', 'p_away').to_numpy()
    rps = rps_by_match(said, outcomes)
    rows = forecasts.select(*by, week=pl.col('kickoff').dt.truncate('1w')).with_columns(
        rps=rps, log_loss=log_loss_by_match(said, outcomes), gap=rps - rps_by_match(market, outcomes))
    out = []
    for key, group in rows.group_by(by, maintain_order=True):
        mean = group['gap'].mean()
        weekly = group.group_by('week').agg((pl.col('gap') - mean).sum())['gap'].to_numpy()
        error = np.sqrt((weekly**2).sum())/group.height
        out.append((*key, group.height, group['rps'].mean(), group['log_loss'].mean(), mean, error, mean - 1.96*error, mean + 1.96*error))
    return pl.DataFrame(out, schema=[*by, 'matches', 'rps', 'log_loss', 'gap', 'se', 'low', 'high'], orient='row')


def main() -> None:
    from football_pred.backtest import walk_forward
    from football_pred.second_stage import probabilities_of
    from football_pred.watched import CLOSING, OPENING

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--products', nargs='+', default=['goals_only', 'goals_plus_shots', 'prices_of_earlier_matches', 'market_blend'])
    parser.add_argument('--leagues', nargs='+', default=list(LEAGUES))
    parser.add_argument('--first', default='2122')
    parser.add_argument('--last', default='2425')
    parser.add_argument('--refit', default='day')
    chosen = parser.parse_args()
    started = time.perf_counter()
    matches = real_matches(Path(os.environ.get('FOOTBALL_SHARED_DATA', ROOT.parent/'shared/data')))
    print(f'{matches.height:,} matches read in {time.perf_counter() - started:.1f} s')
    forecasts = []
    for name, model in load_products(chosen.products).items():
        started = time.perf_counter()
        said = walk_forward({name: model}, matches, datetime(2000 + int(chosen.first[:2]), 7, 1, tzinfo=UTC), refit=chosen.refit)
        forecasts.append(said)
        print(f'{name}: {said.height:,} forecasts in {time.perf_counter() - started:.1f} s', flush=True)
    said = pl.concat(forecasts).filter(pl.col('league').is_in(chosen.leagues), pl.col('season').is_between(pl.lit(chosen.first), pl.lit(chosen.last)))
    said = said.join(matches.select('match_id', *OPENING, *CLOSING), on='match_id', how='left', maintain_order='left')
    closing, opening = (probabilities_of(said, columns) for columns in (CLOSING, OPENING))
    priced = np.isfinite(closing[:, 0]) & np.isfinite(opening[:, 0])
    said, closing, opening = said.filter(pl.Series(priced)), closing[priced], opening[priced]
    market = said.filter(model=chosen.products[0])
    first = np.flatnonzero((said['model'] == chosen.products[0]).to_numpy())
    named = [market.with_columns(pl.Series(f'p_{outcome}', values[first, i]) for i, outcome in enumerate(('home', 'draw', 'away')))
             .with_columns(model=pl.lit(name)) for name, values in (('opening price', opening), ('closing price', closing))]
    both, against = pl.concat([said, *named]), np.concatenate([closing, closing[first], closing[first]])
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, float_precision=5, tbl_width_chars=140):
        print('Gap to the closing price'), print(gaps(both, against, ['model']))
        print('Gap to the opening price'), print(gaps(said, opening, ['model']))
        print('By league'), print(gaps(said, closing, ['model', 'league']).pivot('league', index='model', values='gap'))
        print('By season'), print(gaps(said, closing, ['model', 'season']).pivot('season', index='model', values='gap'))


if __name__ == '__main__': main()
