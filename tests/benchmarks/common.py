"What the benchmarks share: matches to measure on, and a stopwatch."

import os
import time
from datetime import timedelta
from pathlib import Path

import polars as pl

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get('FOOTBALL_SHARED_DATA', ROOT.parent / 'shared/data'))
LEAGUES = ('E0', 'SP1', 'I1', 'D1', 'F1')
COUNTED = {
    'home_shots': 'hs',
    'away_shots': 'as',
    'home_shots_on_target': 'hst',
    'away_shots_on_target': 'ast',
    'home_corners': 'hc',
    'away_corners': 'ac',
}
PRICES = {
    'opening_home': 'AvgH',
    'opening_draw': 'AvgD',
    'opening_away': 'AvgA',
    'closing_home': 'AvgCH',
    'closing_draw': 'AvgCD',
    'closing_away': 'AvgCA',
}


def timed(function, *arguments):
    "Seconds taken, and the result."
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def clustered(matches: pl.DataFrame, column: str) -> tuple[float, float]:
    "Mean of a column of matches, and its standard error clustered by week."
    mean = matches[column].mean()
    weekly = matches.group_by(week=pl.col('kickoff').dt.truncate('1w')).agg(
        (pl.col(column) - mean).sum()
    )[column]
    return mean, (weekly**2).sum() ** 0.5 / matches.height


def premier_league() -> pl.DataFrame:
    "The matches of the Premier League that come with the library."
    matches = pl.read_csv(
        ROOT / 'football_pred/data/premier_league.csv',
        schema_overrides={'season': pl.String, 'time': pl.String},
    )
    return matches.with_columns(
        kickoff=pl.col('date').str.to_datetime('%Y-%m-%d', time_zone='UTC', time_unit='us')
    ).sort('kickoff', 'home_team')


def read_prices(path: Path) -> pl.DataFrame:
    "Average opening and closing prices of one file, by league, season and teams."
    raw = pl.read_csv(path, infer_schema=False, encoding='utf8-lossy')
    raw = raw.rename({raw.columns[0]: 'league'}).filter(pl.col('HomeTeam').is_not_null())
    return raw.select(
        'league',
        season=pl.lit(path.stem[-4:]),
        home_team='HomeTeam',
        away_team='AwayTeam',
        **{name: pl.col(column).cast(pl.Float64, strict=False) for name, column in PRICES.items()},
    )


def real_matches(since: str = '2000-07-01') -> pl.DataFrame:
    "Matches of five countries, both divisions, in the form of a matches frame; a result counts as known at the end of its day."
    table = pl.read_parquet(SHARED / 'two_tiers_1993_2025.parquet').filter(
        pl.col('date') >= pl.lit(since).str.to_datetime()
    )
    moment = pl.col('date').cast(pl.Datetime('us')).dt.replace_time_zone('UTC')
    matches = table.select(
        'league',
        season=pl.col('season').str.slice(2, 2) + pl.col('season').str.slice(5, 2),
        home_team='home',
        away_team='away',
        kickoff=moment + pl.duration(hours=15),
        kickoff_known=pl.lit(False),
        date=pl.col('date').cast(pl.Date),
        neutral=pl.lit(False),
        status=pl.lit('finished'),
        home_goals=pl.col('fthg').cast(pl.Int64),
        away_goals=pl.col('ftag').cast(pl.Int64),
        result_known_at=moment + pl.duration(days=1),
        **{name: pl.col(column).cast(pl.Int64) for name, column in COUNTED.items()},
    )
    prices = pl.concat(
        [read_prices(path) for path in sorted((SHARED / 'football_data_uk').glob('*_*.csv'))]
    )
    matches = matches.join(
        prices, on=['league', 'season', 'home_team', 'away_team'], how='left', maintain_order='left'
    )
    priced = pl.col('opening_home').is_not_null()
    return matches.with_columns(
        match_id=pl.concat_str('league', 'season', 'home_team', 'away_team', separator='-')
        + pl.col('date').dt.strftime('-%j'),
        opening_known_at=pl.when(priced).then(pl.col('kickoff') - timedelta(hours=20)),
    ).sort('kickoff', 'match_id')
