"""A day of ten leagues, and the backtest in it: in place, on one worker, and on two, with the same stores.

    python -m tests.benchmarks.bench_day [--data FOLDER] [--workers 0 1 2] [--products]

PostgreSQL, Redis, S3 and MLflow are servers in every case. Seconds of the whole day include the start of `football-pred`; those of a job are from the
start of its first part to the end of its run. Forecasts must be the same in all cases. With --products the backtest also walks two products
through the past.
"""

import argparse
import subprocess
import tempfile
from contextlib import ExitStack
from copy import copy
from pathlib import Path
from time import perf_counter

import polars as pl
from moto.server import ThreadedMotoServer
from sqlalchemy import select

from football_pred.core.database import open_database, read_frame
from football_pred.core.schema import job_runs, predictions
from tests.benchmarks.common import SHARED
from tests.support.production_day import MODELS, Platform, ordered, production

PRODUCTS = (
    MODELS[:-1] + ', goals_only: {class: goals_only}, goals_plus_shots: {class: goals_plus_shots}}'
)


def start_workers(platform: Platform, count: int, stack: ExitStack) -> None:
    "Workers that take whatever there is."
    for number in range(count):
        worker = copy(platform.services['worker-train'])
        at = worker.command.index('--queue')
        worker.command, worker.log = (
            [*worker.command[:at], *worker.command[at + 2 :]],
            worker.folder / f'worker-{number}.log',
        )
        stack.enter_context(worker.running())


def day(
    data: Path, workers: int, object_store: str, models: str
) -> tuple[float, pl.DataFrame, pl.DataFrame]:
    "Seconds, runs and forecasts of a day."
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        platform = stack.enter_context(
            production(folder, object_store, data, ['mlflow'], max(1, workers))
        )
        start_workers(platform, workers, stack)
        begun = perf_counter()
        command = ordered('daily', '2425', *(['--on', 'workers'] if workers else []), models=models)
        subprocess.run(command, env=platform.env, check=True, stdout=subprocess.DEVNULL)
        seconds = perf_counter() - begun
        engine = open_database(platform.env['FOOTBALL_DATABASE_URL'])
        stack.callback(engine.dispose)
        own, said = job_runs.c, predictions.c
        runs = read_frame(
            engine, select(own.job, own.started_at, own.finished_at).where(own.pipeline == 'daily')
        )
        forecasts = read_frame(
            engine,
            select(said.match_id, said.model, said.as_of, said.p_home, said.p_draw, said.p_away),
        )
        return seconds, runs, forecasts.sort('match_id', 'model', 'as_of')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', type=Path, default=SHARED)
    parser.add_argument(
        '--workers', type=int, nargs='+', default=[0, 1, 2], help='numbers of workers; 0: in place'
    )
    parser.add_argument('--products', action='store_true', help='backtest products too')
    asked = parser.parse_args()
    server = ThreadedMotoServer('127.0.0.1', port=0, verbose=False)
    server.start()
    address, taken, first = 'http://{}:{}'.format(*server.get_host_and_port()), {}, None
    try:
        for workers in asked.workers:
            seconds, runs, forecasts = day(
                asked.data, workers, address, PRODUCTS if asked.products else MODELS
            )
            first = forecasts if first is None else first
            assert forecasts.equals(first), 'forecasts differ'
            name = f'{workers} workers' if workers else 'in place'
            whole = (
                runs.with_columns(pl.col('job').str.strip_suffix('-part'))
                .group_by('job')
                .agg((pl.max('finished_at') - pl.min('started_at')).dt.total_milliseconds() / 1000)
            )
            taken[name] = {'day': seconds} | dict(whole.iter_rows())
            print(f'{name}: {seconds:.0f} s, {forecasts.height} forecasts', flush=True)
    finally:
        server.stop()
    base = next(iter(taken.values()))
    for name, times in taken.items():
        print(
            f'{name:10}',
            '  '.join(
                f'{what} {times[what]:.0f} s ({base[what] / times[what]:.2f})'
                for what in ('day', 'train', 'backtest')
            ),
        )


if __name__ == '__main__':
    main()
