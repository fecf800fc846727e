"""What it costs the server to be watched: answers a second and latency with and without a Prometheus that asks it every second.

    python -m tests.benchmarks.bench_monitoring [--home FOLDER] [--seconds 5] [--rounds 5]

Prometheus has the project's own rules and asks, and evaluates them, every second; in production every 15 seconds. The order turns round every round.
Medians are printed, and the ratio of the medians. Without --home, one is made from the bundled data, which takes minutes.
"""

import argparse
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.benchmarks.bench_serving import make_home, wrk
from tests.support.monitoring import prometheus, query
from tests.support.server import serving, wait_until


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, kind, default in (
        ('--home', Path, None),
        ('--seconds', int, 5),
        ('--rounds', int, 5),
    ):
        parser.add_argument(option, type=kind, default=default)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    home, found = (
        options.home or make_home(folder / 'home'),
        dict[tuple[str, bool], list[dict[str, float]]](),
    )
    with serving(home, '--log-level', 'WARNING') as address:
        wait_until(lambda: httpx.get(f'{address}/health', timeout=20).json()['status'] == 'ok', 120)
        one = httpx.get(f'{address}/api/v1/predictions', timeout=20).json()[0]['match_id']
        asked = {'cached': '', 'computed': "wrk.headers['Cache-Control'] = 'no-cache'\n"}
        for i in range(options.rounds):
            for watched in (False, True)[:: 1 - 2 * (i % 2)]:
                with ExitStack() as stack:
                    if watched:
                        (own := folder / f'prometheus-{i}').mkdir()
                        other = stack.enter_context(
                            prometheus(own, '1s', api=address.removeprefix('http://'))
                        )
                        wait_until(lambda other=other: bool(query(other, 'up{job="api"} == 1')))
                    for name, about in asked.items():
                        found.setdefault((name, watched), []).append(
                            wrk(
                                folder,
                                f'{address}/api/v1/predictions/{one}',
                                100,
                                options.seconds,
                                about,
                            )
                        )
                    if watched:
                        [scraped] = query(
                            other, 'avg_over_time(scrape_duration_seconds{job="api"}[1m])'
                        )
                        [size] = query(other, 'scrape_samples_scraped{job="api"}')
    print(
        f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; 100 connections, {options.rounds} rounds of {options.seconds} s; '
        f"a scrape takes {float(scraped['value'][1]) * 1000:.0f} ms under load and has {size['value'][1]} samples"
    )
    for name in asked:
        alone, watched = (
            {
                key: statistics.median(one[key] for one in found[name, is_watched])
                for key in ('rate', 'p50', 'p99')
            }
            for is_watched in (False, True)
        )
        errors = sum(
            one['errors'] for is_watched in (False, True) for one in found[name, is_watched]
        )
        print(
            f'{name:<9}',
            '  '.join(
                f'{key} {alone[key]:,.1f} -> {watched[key]:,.1f} ({watched[key] / alone[key]:.2f})'
                for key in alone
            ),
            f' errors {errors:.0f}',
        )


if __name__ == '__main__':
    main()
