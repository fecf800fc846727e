"""Events a second from the table to Kafka, and from Kafka to settled forecasts and features, on SQLite and on PostgreSQL.

    python -m tests.benchmarks.bench_stream [--events 10000 100000]

Relay: events of a match each, and events of 50 matches, of which one at a time is under way. Consumer: so many results of 10,260 matches of a
made-up league, told again and again when there are more, with features kept in files. The server of Kafka's protocol keeps everything in memory.
"""

import argparse
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter

import polars as pl
from sqlalchemy import Engine

from football_pred.core import schema
from football_pred.core.database import open_database, upsert, write_transaction
from football_pred.core.ledger_log import HeadFile
from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.core.settings import Settings
from football_pred.events.consumer import lazy_feature_store, run_consumer
from football_pred.events.kafka import (
    consumer_lag,
    create_topics,
    encode_event,
    open_consumer,
    open_producer,
)
from football_pred.events.on_result import ProcessingContext
from football_pred.events.outbox_relay import send_unsent_events
from football_pred.features.offline import FeatureStoreConfig
from football_pred.registry.registry import connect_registry, current_champions
from tests.support.events import EMITTED_AT, count_sent, emit_odds, result_events
from tests.support.kafka import run_kafka
from tests.support.services import run_postgresql, url_of_server

GROUP = 'football-pred'


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    "URLs of an empty database each."
    with run_postgresql() as server:
        yield {
            'SQLite': f'sqlite:///{tempfile.mkdtemp()}/football.db',
            'PostgreSQL': url_of_server(server),
        }


def relayed(engine: Engine, events: int, keys: int) -> float:
    "Events a second, without the time to write them."
    with run_kafka() as kafka:
        with write_transaction(engine) as connection:
            connection.execute(schema.events.delete())
        for start in range(0, events, 10_000):
            emit_odds(engine, min(10_000, events - start), keys, start)
        create_topics(kafka.servers)
        producer, begun = open_producer(kafka.servers), perf_counter()
        while send_unsent_events(engine, producer, lambda: EMITTED_AT).sent:
            pass
        seconds = perf_counter() - begun
        assert count_sent(engine) == events
    return events / seconds


def league(engine: Engine) -> pl.DataFrame:
    "27 seasons in the table."
    played = sample_matches(sample_strengths(), n_seasons=27, start_year=1994)
    with write_transaction(engine) as connection:
        upsert(
            connection,
            schema.leagues,
            [dict(league='SIM', name='Sim', country='Sim', tier=1, time_zone='UTC', teams=20)],
        )
        upsert(
            connection,
            schema.snapshots,
            [
                dict(
                    snapshot_id='s1',
                    source='two_tiers',
                    url='file:///sim',
                    kind='matches',
                    sha256='0' * 64,
                    bytes=1,
                    fetched_at=EMITTED_AT,
                    path='00',
                    sequence=1,
                    rows=1,
                )
            ],
        )
        held = set(played.columns) & set(schema.matches.columns.keys())
        rows = played.select(held).with_columns(
            source=pl.lit('two_tiers'), snapshot_id=pl.lit('s1')
        )
        upsert(connection, schema.matches, rows)
    return rows


def consumed(engine: Engine, matches: pl.DataFrame, events: int) -> float:
    "Events a second from the first message to the last one that counts as done."
    from confluent_kafka import TopicPartition

    home, told = Path(tempfile.mkdtemp()), result_events(matches)
    settings, after = Settings(home=home), matches['kickoff'].max() + timedelta(days=1)  # type: ignore[operator]
    tools = ProcessingContext(
        engine,
        partial(current_champions, connect_registry(**settings.registry_options)),
        lazy_feature_store(FeatureStoreConfig(home / 'features')),
        HeadFile(settings.ledger_heads_path),
    )
    tools.open_feature_store()
    with run_kafka() as kafka:
        create_topics(kafka.servers)
        producer, stop = open_producer(kafka.servers), threading.Event()
        for i in range(events):
            message = encode_event('results', *told[i % len(told)], f'e{i}', i)
            producer.produce(
                message.topic, message.value, message.key, headers=list(message.headers)
            )
            producer.poll(0)
        producer.flush()
        thread = threading.Thread(
            target=run_consumer,
            args=(tools, kafka.servers, lambda: after, lambda: datetime.now(UTC), stop),
        )
        watch, begun = open_consumer(kafka.servers, [], GROUP), perf_counter()
        places = [
            TopicPartition('football.results', one)
            for one in range(consumer_lag(kafka.servers).height)
        ]
        thread.start()
        while sum(max(0, place.offset) for place in watch.committed(places, timeout=10)) < events:
            stop.wait(0.05)
        seconds = perf_counter() - begun
        stop.set()
        thread.join()
        watch.close()
    return events / seconds


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument('--events', type=int, nargs='+', default=[10_000, 100_000])
    events = asked.parse_args().events
    with databases() as urls:
        for name, url in urls.items():
            engine = open_database(url)
            for number in events:
                print(
                    f'{name}: relay, {number:,} events: {relayed(engine, number, number):,.0f}/s each of another match, '
                    f'{relayed(engine, number, 50):,.0f}/s of 50 matches',
                    flush=True,
                )
            matches = league(engine)
            for number in events:
                print(
                    f'{name}: consumer, {number:,} events: {consumed(engine, matches, number):,.0f}/s',
                    flush=True,
                )
            engine.dispose()


if __name__ == '__main__':
    main()
