"""What the exporter costs as the ledger grows: its start, the turns after it, and a scrape.

    python -m tests.benchmarks.bench_exporter [--forecasts 10000 1000000] [--rounds 5]

Ledgers of two models over 5,000 matches of ten leagues are written row by row past the guards of SQLite, one in fifty forecasts not settled. After
the first turn, every further one finds 50 new forecasts. Medians are printed.
"""

import argparse
import hashlib
import logging
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import psutil
from prometheus_client import generate_latest

from football_pred.core import schema
from football_pred.core.database import open_database, upsert, write_transaction
from football_pred.core.settings import Settings
from football_pred.metrics.exporter import Exporter, MetricCollectors, collector_status
from tests.support.live_forecasts import drop_guards

MATCHES, START = 5000, datetime(2020, 8, 1, 15, tzinfo=UTC)


def fixtures() -> list[dict[str, object]]:
    "Matches of ten leagues, one after another, all played."
    rows = []
    for i in range(MATCHES):
        kickoff = START + timedelta(hours=10 * i)
        rows.append(
            dict(
                match_id=f'm{i}',
                league=f'L{i % 10}',
                season='2021',
                kickoff=kickoff,
                kickoff_known=True,
                date=kickoff.date(),
                home_team=f'team {i % 20}',
                away_team=f'team {(i + 1) % 20}',
                neutral=False,
                status='finished',
                home_goals=i % 4,
                away_goals=i % 3,
                result_known_at=kickoff + timedelta(hours=2),
                source='made',
                snapshot_id='s',
            )
        )
    return rows


def prepare(home: Path) -> None:
    "A database with matches and no forecast."
    engine = open_database(Settings(home=home).database_dsn)
    leagues = [
        dict(league=f'L{i}', name=f'L{i}', country=f'C{i}', tier=1, time_zone='UTC', teams=20)
        for i in range(10)
    ]
    snapshot = dict(
        snapshot_id='s',
        source='made',
        url='made:',
        kind='results',
        sha256='0' * 64,
        bytes=0,
        fetched_at=START,
        path='',
        sequence=1,
        rows=0,
    )
    with write_transaction(engine) as connection:
        for table, rows in (
            (schema.leagues, leagues),
            (schema.snapshots, [snapshot]),
            (schema.matches, fixtures()),
        ):
            upsert(connection, table, rows)
    guards = schema.insert_guards('sqlite')
    drop_guards(engine, tuple(guards))
    engine.dispose()


def chain(first: int, previous: str) -> Iterator[tuple]:
    "Rows of the ledger, each behind the one before."
    known = [
        (
            one['match_id'],
            one['league'],
            str(one['kickoff'])[:19] + '.000000',
            str(one['kickoff'] - timedelta(days=3))[:19] + '.000000',
        )  # type: ignore[operator]
        for one in fixtures()
    ]
    sequence = first
    while True:
        match, league, kickoff, as_of = known[sequence % MATCHES]
        seal = hashlib.sha256(f'{sequence}{previous}'.encode()).hexdigest()
        yield (
            sequence,
            seal[:32],
            match,
            league,
            '2021',
            'a',
            'b',
            kickoff,
            f'model {sequence // MATCHES % 2}',
            str(sequence // MATCHES),
            as_of,
            as_of,
            0.5,
            0.25,
            0.25,
            1.5,
            1.1,
            'home_win',
            0.5,
            'd',
            'f',
            'bench',
            previous,
            seal,
            'live',
        )
        sequence, previous = sequence + 1, seal


def grow(home: Path, count: int) -> str:
    "Write forecasts, and settle all but one in fifty of them; the head of the chain."
    connection = sqlite3.connect(home / 'football.db', isolation_level=None)
    for pragma in ('synchronous=OFF', 'cache_size=-500000'):
        connection.execute(f'PRAGMA {pragma}')
    last = connection.execute(
        'SELECT sequence, seal FROM predictions ORDER BY sequence DESC LIMIT 1'
    ).fetchone() or (0, schema.GENESIS_SEAL)
    rows = chain(last[0] + 1, last[1])
    connection.execute('BEGIN')
    while count:
        some = list(islice(rows, min(count, 50_000)))
        count -= len(some)
        connection.executemany(f"INSERT INTO predictions VALUES ({','.join('?' * 25)})", some)
        connection.executemany(
            f"INSERT INTO settlements VALUES ({','.join('?' * 13)})",
            (
                (
                    row[1],
                    1,
                    row[7],
                    row[0] % 4,
                    row[0] % 3,
                    'home',
                    1,
                    0.2,
                    0.7,
                    0.4,
                    'bench',
                    row[1],
                    None,
                )
                for row in some
                if row[0] % MATCHES % 50
            ),
        )
    connection.execute('COMMIT')
    connection.close()
    return some[-1][-1]


def measure(count: int, rounds: int) -> dict[str, float]:
    "Seconds and bytes with so many forecasts."
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        prepare(home)
        grow(home, count)
        exporter, before = (
            Exporter(MetricCollectors(Settings(home=home), lambda: datetime.now(UTC))),
            psutil.Process().memory_info().rss,
        )
        started = time.perf_counter()
        exporter.run_all()
        found = {
            'start': time.perf_counter() - started,
            'of it the ledger': exporter.cycles['ledger'].seconds,
        }
        turns: dict[str, list[float]] = {name: [] for name in exporter.cycles}
        scrapes = []
        for _ in range(rounds):
            grow(home, 50)
            exporter.run_all()
            for name, turn in exporter.cycles.items():
                turns[name].append(turn.seconds)
            started = time.perf_counter()
            page = generate_latest(exporter.registry)
            scrapes.append(time.perf_counter() - started)
        down = {
            name: collector_status(turn).reason
            for name, turn in exporter.cycles.items()
            if not collector_status(turn).up and name != 'drift'
        }
        assert not down, down
        found |= {f'turn: {name}': statistics.median(seconds) for name, seconds in turns.items()}
        memory = psutil.Process().memory_info().rss - before
        return found | {
            'scrape': statistics.median(scrapes),
            'page, MB': len(page) / 1e6,
            'memory, GB': memory / 1e9,
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--forecasts', type=int, nargs='+', default=[10_000, 1_000_000])
    parser.add_argument('--rounds', type=int, default=5)
    options = parser.parse_args()
    logging.getLogger(
        'football_pred.metrics.exporter'
    ).disabled = True  # there are no features, and it says so
    found = [measure(count, options.rounds) for count in options.forecasts]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seconds unless said otherwise")
    print(
        f"{'forecasts':<18}"
        + ''.join(f'{count:>12,}' for count in options.forecasts)
        + f"{'ratio':>10}"
    )
    for name in found[0]:
        ratio = found[-1][name] / max(found[0][name], 1e-9)
        print(f'{name:<18}' + ''.join(f'{one[name]:>12.4f}' for one in found) + f'{ratio:>10.1f}')


if __name__ == '__main__':
    main()
