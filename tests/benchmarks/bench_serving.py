"""How fast the server answers, beside a bare FastAPI application under the same uvicorn; how long it takes to start, and the memory it takes.

    python -m tests.benchmarks.bench_serving [--home FOLDER] [--seconds 3] [--rounds 3]

The same client (wrk, one thread) asks both in turn, with 100 and 1,000 connections: `{"ok": true}` of the bare application, and of the server a
forecast from the cache, one that is computed, and a batch of 100. The order turns round every round, and medians are printed; the 99th percentile
also as a multiple of the median and of that of the bare application. Without --home, one is made from the bundled data, which takes minutes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.support.server import run, serving, started, wait_until
from tests.support.services import free_port

BARE = """
import sys
import uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get('/')
async def ok(): return {'ok': True}
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False, server_header=False)
"""
TOLD = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"rate": %f, "p50": %f, "p99": %f, "errors": %d}', summary.requests/summary.duration*1e6,
           latency:percentile(50)/1000, latency:percentile(99)/1000, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@contextmanager
def bare() -> Iterator[str]:
    "The address of a FastAPI application that does nothing."
    address = f'http://127.0.0.1:{(port := free_port())}'
    with started([sys.executable, '-c', BARE, str(port)], address):
        yield address


def megabytes() -> float:
    "Memory of the youngest child of this process."
    return (
        max(psutil.Process().children(), key=lambda child: child.create_time()).memory_info().rss
        / 1e6
    )


def wrk(
    folder: Path, address: str, connections: int, seconds: int, about: str = ''
) -> dict[str, float]:
    "Requests a second, milliseconds within which half and 99 % were answered, and errors."
    script = folder / 'wrk.lua'
    script.write_text(about + TOLD)
    command = [
        'wrk',
        '-t1',
        f'-c{connections}',
        f'-d{seconds}s',
        '--timeout',
        '20s',
        '-s',
        str(script),
        address,
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(said[said.rindex('{') :])


def make_home(home: Path) -> Path:
    "A home with a model, from the bundled data; it takes minutes."
    for job in ('collect', 'clean', 'features'):
        run(home, 'run', job)
    run(home, 'run', 'train', '-p', 'candidates', '[DixonColes]')
    return home


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, kind, default in (
        ('--home', Path, None),
        ('--seconds', int, 3),
        ('--rounds', int, 3),
    ):
        parser.add_argument(option, type=kind, default=default)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    home = options.home or make_home(folder / 'home')
    starts = []
    for _ in range(options.rounds):
        started = time.perf_counter()
        with serving(home, '--log-level', 'WARNING') as address:
            httpx.get(f'{address}/health/ready').raise_for_status()
            starts.append(time.perf_counter() - started)
            cold = megabytes()
    print(
        f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; from cold start to ready {statistics.median(starts):.1f} s, '
        f'then {cold:.0f} MB; rounds {options.rounds} of {options.seconds} s'
    )
    with bare() as nothing, serving(home, '--log-level', 'WARNING') as address:
        wait_until(lambda: httpx.get(f'{address}/health', timeout=20).json()['status'] == 'ok', 120)
        matches = [
            one['match_id'] for one in httpx.get(f'{address}/api/v1/predictions', timeout=20).json()
        ]
        one, batch = (
            f'{address}/api/v1/predictions/{matches[0]}',
            json.dumps({'match_ids': (matches * 100)[:100]}),
        )
        post = f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = '{batch}'\n"
        asked = {
            'bare': (nothing, ''),
            'cached': (one, ''),
            'computed': (one, "wrk.headers['Cache-Control'] = 'no-cache'\n"),
            'batch of 100': (f'{address}/api/v1/predictions/batch', post),
        }
        print(
            f'a batch names {len(set(matches[:100]))} matches; {megabytes():.0f} MB once Feast and MLflow are there'
        )
        for connections in (100, 1000):
            found: dict[str, list[dict[str, float]]] = {name: [] for name in asked}
            for i in range(options.rounds):
                for name in list(asked)[:: 1 - 2 * (i % 2)]:
                    found[name].append(
                        wrk(folder, asked[name][0], connections, options.seconds, asked[name][1])
                    )
            for name, runs in found.items():
                middle = {key: statistics.median(one[key] for one in runs) for key in runs[0]}
                ratio = middle['rate'] / statistics.median(one['rate'] for one in found['bare'])
                late = middle['p99'] / statistics.median(one['p99'] for one in found['bare'])
                print(
                    f"{connections:>5} connections  {name:<13}{middle['rate']:>9,.0f} a second  {ratio:>5.2f} of bare  "
                    f"p50 {middle['p50']:>7.1f} ms  p99 {middle['p99']:>7.1f} ms, {middle['p99'] / middle['p50']:>4.1f} of p50, "
                    f"{late:>4.1f} of bare  errors {sum(one['errors'] for one in runs):.0f}"
                )
        print(f'{megabytes():.0f} MB afterwards; load {os.getloadavg()[0]:.1f}')


if __name__ == '__main__':
    main()
