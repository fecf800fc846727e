"Relay and consumer with real servers, killed processes, and a page that becomes a forecast."

import json
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from sqlalchemy import Engine, create_engine, func, select, text, update

from football_pred.core import schema
from football_pred.core.as_of import frame_fingerprint
from football_pred.core.database import read_frame, upsert, write_transaction
from football_pred.core.ledger_log import HeadFile, read_heads
from football_pred.core.outbox import emit_events
from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.core.settings import Settings
from football_pred.events.kafka import (
    DEAD_LETTER_TOPIC,
    TOPICS,
    InvalidMessage,
    KafkaMessage,
    create_topics,
    decode_message,
    encode_event,
    open_producer,
)
from football_pred.events.on_result import find_affected_fixtures
from football_pred.events.outbox_relay import run_relay, send_unsent_events
from football_pred.features.team_states import build_features_and_states
from football_pred.forecasts.ledger import append_forecasts
from football_pred.forecasts.ledger_verification import verify_ledger
from football_pred.forecasts.predict import forecast_fixtures, upcoming_fixtures
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.load import load_new_payloads
from football_pred.ingest.open_sources import OpenFootball
from football_pred.markets.prices import read_match_history
from football_pred.models.dixon_coles import DixonColes
from football_pred.registry.registry import Registry, connect_registry
from football_pred.registry.result_updates import read_known_results
from tests.support.events import (
    EMITTED_AT,
    count_events,
    count_sent,
    emit_odds,
    result_events,
)
from tests.support.kafka import Broker, read_all, run_kafka
from tests.support.pages import FAST, Host
from tests.support.server import wait_until as wait_at_most
from tests.support.warm import warm_command

LIBRARY = Path(__file__).parents[3] / 'football_pred'
BEFORE = datetime(2022, 3, 1, tzinfo=UTC)  # in the season of the simulated league
LATER = datetime(2022, 3, 9, tzinfo=UTC)


def wait_until(condition: Callable[[], bool]) -> None:
    wait_at_most(condition, 240)  # a consumer imports much, and the machine may be busy


@pytest.fixture
def kafka() -> Iterator[Broker]:
    with run_kafka() as broker:
        yield broker


@pytest.fixture(params=['sqlite', 'postgresql'])
def database(request: pytest.FixtureRequest) -> Engine:
    return request.getfixturevalue('engine' if request.param == 'sqlite' else 'postgresql')


def environment(home: Path, database: Engine, servers: str) -> dict[str, str]:
    url = database.url.render_as_string(hide_password=False)
    return os.environ | {
        'FOOTBALL_HOME': str(home),
        'FOOTBALL_DATABASE_URL': url,
        'FOOTBALL_KAFKA_SERVERS': servers,
    }


class Running:
    "A command that runs until it is ended, and its log."

    def __init__(self, home: Path, database: Engine, servers: str, *command: str) -> None:
        self.log = home / f'{command[0]}-{random.getrandbits(32):x}.log'
        with self.log.open('w') as out:
            self.process = subprocess.Popen(
                [*warm_command(), *command],
                env=environment(home, database, servers),
                stderr=out,
                stdout=out,
            )

    def says(self, message: str) -> list[dict[str, Any]]:
        "Lines of the log with this message."
        assert self.process.poll() in (None, 0, -signal.SIGKILL), self.log.read_text()
        lines = [
            json.loads(line)
            for line in self.log.read_text().splitlines(keepends=True)
            if line.endswith('\n') and line.startswith('{')
        ]
        return [line for line in lines if line['message'] == message]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def running(*arguments: Any) -> Iterator[Running]:
    one = Running(*arguments)
    try:
        yield one
    finally:
        one.kill()


def understood(servers: str, topic: str = 'football.odds') -> list[Any]:
    return [
        decode_message(KafkaMessage(one.topic(), one.key(), one.value(), one.headers()))
        for one in read_all(servers, topic)
    ]


def check_carried(database: Engine, servers: str) -> int:
    "Nothing is lost, and of each match nothing came after something later; how many came twice."
    events = understood(servers)
    wanted = read_frame(database, select(schema.events.c.event_id))['event_id']
    assert {event.event_id for event in events} == set(wanted)
    for key in {event.key for event in events}:
        order = [event.sequence for event in events if event.key == key]
        assert order == sorted(order), (key, order)
    return len(events) - wanted.len()


def test_a_relay_that_is_killed_loses_nothing_and_keeps_the_order(database, home, kafka):
    emit_odds(database, 6000)
    dice = random.Random(7)
    for _ in range(4):
        with running(home, database, kafka.servers, 'relay') as one:
            enough = count_sent(database) + dice.randrange(1, 800)
            wait_until(lambda enough=enough: count_sent(database) >= enough)
            one.kill()
    assert 0 < count_sent(database) < 6000
    with running(home, database, kafka.servers, 'relay') as one:
        wait_until(lambda: count_sent(database) == 6000)
        assert one.end() == 0
        assert len(one.says('the relay ends')) == 1
    twice = check_carried(database, kafka.servers)
    assert 0 <= twice <= 4 * 50  # of each match at most the event that was under way


def test_two_relays_send_nothing_twice_and_the_second_takes_over(database, home, kafka):
    with running(home, database, kafka.servers, 'relay') as first:
        emit_odds(database, 100)
        wait_until(lambda: count_sent(database) == 100)
        with running(home, database, kafka.servers, 'relay') as second:
            wait_until(
                lambda: bool(second.says('another process is at work; waiting for it to end'))
            )
            emit_odds(database, 2000, start=100)
            wait_until(lambda: count_sent(database) == 2100)
            assert check_carried(database, kafka.servers) == 0
            first.kill()
            emit_odds(database, 500, start=2100)
            wait_until(lambda: count_sent(database) == 2600)
            assert second.says('events sent')
    assert check_carried(database, kafka.servers) == 0


def test_a_server_that_is_gone_comes_back(engine, kafka, caplog):
    stop = threading.Event()
    thread = threading.Thread(
        target=run_relay, args=(engine, kafka.servers, lambda: EMITTED_AT, stop, 1.0)
    )
    with caplog.at_level('WARNING', 'football_pred.events.outbox_relay'):
        thread.start()
        try:
            emit_odds(engine, 200)
            wait_until(lambda: count_sent(engine) == 200)
            kafka.hold()
            emit_odds(engine, 200, start=200)
            wait_until(lambda: 'events wait' in caplog.messages)
            assert count_sent(engine) < 400
            kafka.go_on()
            wait_until(lambda: count_sent(engine) == 400)
        finally:
            stop.set()
            thread.join()
    check_carried(engine, kafka.servers)


def test_an_event_that_fits_no_schema_is_a_dead_letter(database, kafka):
    create_topics(kafka.servers)
    assert create_topics(kafka.servers) == []
    with write_transaction(database) as connection:
        emit_events(connection, 'odds', [('m1', {'version': 7, 'match_id': 'm1'})], EMITTED_AT)
    emit_odds(database, 3, keys=1)
    done = send_unsent_events(database, open_producer(kafka.servers), lambda: EMITTED_AT)
    assert (done.sent, done.dead_lettered, done.failed, count_sent(database)) == (4, 1, 0, 4)
    [letter] = read_all(kafka.servers, DEAD_LETTER_TOPIC)
    assert dict(letter.headers())['reason'] == b'version 7 of topic odds is unknown; known: 1'
    assert len(understood(kafka.servers)) == 3


FORECAST = {
    'version': 1,
    'prediction_id': 'p',
    'match_id': 'm1',
    'league': 'E0',
    'model': 'dixon',
    'model_version': '1',
    'predicted_result': 'draw',
    'p_home': 0.25,
    'p_draw': 0.5,
    'p_away': 0.25,
    'kickoff': EMITTED_AT.isoformat(),
    'as_of': EMITTED_AT.isoformat(),
}
HEAD = {
    'version': 1,
    'origin': 'ab' * 16,
    'size': 3,
    'root': 'cd' * 32,
    'at': EMITTED_AT.isoformat(),
    'key': None,
    'signature': None,
}


def test_a_forecast_has_a_kind_and_messages_from_before_stay_valid():
    def decoded(**kind: str) -> Any:
        return decode_message(encode_event('predictions', 'm1', FORECAST | kind, 'e', 1)).event

    assert decoded().kind is None
    assert [decoded(kind=kind).kind for kind in schema.FORECAST_KINDS] == ['live', 'replay']
    with pytest.raises(InvalidMessage, match='kind: Input should be'):
        decoded(kind='late')


def test_a_head_has_its_origin_as_key():
    message = encode_event('heads', HEAD['origin'], HEAD, 'e', 1)
    assert (message.topic, message.key) == ('football.heads', HEAD['origin'].encode())
    assert decode_message(message).event.size == 3
    signed = HEAD | {'key': 'e' * 64, 'signature': 'f' * 128}
    assert encode_event('heads', HEAD['origin'], signed, 'e', 1).value
    for wrong in ({'root': 'cd'}, {'size': 0}, {'origin': 'ab' * 15}, {'at': '2026-04-01'}):
        with pytest.raises(InvalidMessage):
            encode_event('heads', HEAD['origin'], HEAD | wrong, 'e', 1)
    with pytest.raises(InvalidMessage, match='the key is'):
        encode_event('heads', 'another', HEAD, 'e', 1)
    assert TOPICS['heads'].config['cleanup.policy'] == 'delete'  # an old head is evidence


# A simulated league


def tables(home: Path, database: Engine) -> tuple[Registry, pl.DataFrame]:
    "A season, the model that speaks for it on the first of March, and its forecasts of a week."
    settings, played = Settings(home=home), sample_matches(sample_strengths())
    with write_transaction(database) as connection:
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
                    fetched_at=BEFORE,
                    path='00',
                    sequence=1,
                    rows=1,
                )
            ],
        )
        upsert(
            connection,
            schema.matches,
            played.select(set(played.columns) & set(schema.matches.columns.keys())).with_columns(
                source=pl.lit('two_tiers'), snapshot_id=pl.lit('s1')
            ),
        )
    history = read_match_history(database, BEFORE, ['SIM'])
    model, registry = (
        DixonColes().fit(history.filter(status='finished'), as_of=BEFORE),
        connect_registry(**settings.registry_options),
    )
    kept = registry.versions.register(
        'SIM',
        model,
        'SIM-dixon-coles',
        {'as_of': BEFORE.isoformat(), 'data_fingerprint': frame_fingerprint(history)},
    )
    registry.promote('SIM', kept.version, 'test', 'the first')
    week = upcoming_fixtures(history, BEFORE, 8)
    append_forecasts(
        database,
        HeadFile(settings.ledger_heads_path),
        forecast_fixtures(model, week),
        kept.name,
        kept.version,
        BEFORE,
        'x',
        'x',
        'test',
    )
    return registry, week


def ended(database: Engine, week: pl.DataFrame) -> pl.DataFrame:
    return (
        read_frame(database, select(schema.matches))
        .filter(pl.col('match_id').is_in(week['match_id'].implode()))
        .sort('kickoff', 'match_id')
    )


def ledger(database: Engine) -> tuple[int, int]:
    "Forecasts and settlements."
    with database.connect() as connection:
        return tuple(
            connection.scalar(select(func.count()).select_from(table))
            for table in (schema.predictions, schema.settlements)
        )  # type: ignore


def check_ledger(home: Path, database: Engine, week: pl.DataFrame) -> None:
    "Every forecast of the week is settled once, and every next fixture has one valid forecast."
    settled = read_frame(
        database,
        select(schema.predictions.c.match_id, schema.settlements.c.revision).join(
            schema.settlements,
            schema.settlements.c.prediction_id == schema.predictions.c.prediction_id,
        ),
    )
    assert sorted(settled['match_id']) == sorted(week['match_id'])
    assert set(settled['revision']) == {1}
    next_fixtures = find_affected_fixtures(
        upcoming_fixtures(read_match_history(database, LATER, ['SIM']), LATER, 60),
        week,
        {'SIM': 'Sim'},
    )
    sealed_ids = read_frame(
        database,
        select(schema.predictions.c.match_id).where(schema.predictions.c.run_id == 'stream'),
    )['match_id'].to_list()
    assert sorted(sealed_ids) == sorted(next_fixtures)
    assert verify_ledger(database, HeadFile(Settings(home=home).ledger_heads_path)).problems == []


def test_a_consumer_that_is_killed_does_everything_once(database, home, kafka):
    _, week = tables(home, database)
    told = result_events(ended(database, week))
    dice, parts = random.Random(3), [told[:4], told[4:]]
    with running(home, database, kafka.servers, 'relay'):
        for part in parts:
            before = ledger(database)
            with write_transaction(database) as connection:
                emit_events(connection, 'results', part, EMITTED_AT)
            with running(
                home, database, kafka.servers, 'consume', '--as-of', LATER.isoformat()
            ) as one:
                more = dice.randrange(1, 3)
                wait_until(lambda before=before, more=more: ledger(database)[1] >= before[1] + more)
                one.kill()  # features are not pushed yet, or the messages not counted as done
        with running(home, database, kafka.servers, 'consume', '--as-of', LATER.isoformat()) as one:
            wait_until(
                lambda: bool(one.says('results processed')) and ledger(database)[1] == week.height
            )
            check_ledger(home, database, week)
            done, lines = ledger(database), len(one.says('results processed'))
            with write_transaction(database) as connection:
                connection.execute(
                    update(schema.events).values(sent_at=None)
                )  # all of it a second time
            wait_until(
                lambda: (
                    sum(line['messages'] for line in one.says('results processed')[lines:])
                    == len(told)
                )
            )
            assert one.end() == 0
    assert ledger(database) == done
    check_ledger(home, database, week)


def test_messages_that_cannot_be_used_are_dead_letters(engine, home, kafka):
    _, week = tables(home, engine)
    create_topics(kafka.servers)
    good = [
        encode_event('results', key, payload, f'e{i}', i)
        for i, (key, payload) in enumerate(result_events(ended(engine, week)))
    ]
    newer = good[0]._replace(headers=[*(dict(good[0].headers) | {'schema_version': b'2'}).items()])
    nowhere = encode_event(
        'results', 'm9', result_events(ended(engine, week))[0][1] | {'match_id': 'm9'}, 'e99', 99
    )
    producer = open_producer(kafka.servers)
    for one in (good[0], good[0]._replace(value=b'\xff{'), newer, nowhere, *good[1:]):
        producer.produce(one.topic, one.value, one.key, headers=list(one.headers))
    producer.flush()
    with running(home, engine, kafka.servers, 'consume', '--as-of', LATER.isoformat()) as one:
        wait_until(lambda: len(one.says('results processed')) > 0)
        wait_until(lambda: ledger(engine)[1] == week.height)
        assert one.end() == 0
    check_ledger(home, engine, week)
    letters = read_all(kafka.servers, DEAD_LETTER_TOPIC)
    why = sorted(
        dict(letter.headers())['reason'].decode().split(' at line')[0] for letter in letters
    )
    assert why[0] == 'match m9 is not in the table'
    assert why[1].startswith('topic results, version 1: value: Invalid JSON')
    assert why[2] == 'version 2 of topic results is unknown; known: 1'
    assert {letter.value() for letter in letters} == {b'\xff{', newer.value, nowhere.value}


def test_a_database_that_is_away_is_waited_for(postgresql, postgresql_server, home, kafka):
    _, week = tables(home, postgresql)
    create_topics(kafka.servers)
    messages = [
        encode_event('results', key, payload, f'e{i}', i)
        for i, (key, payload) in enumerate(result_events(ended(postgresql, week)))
    ]
    name, server = (
        postgresql.url.database,
        create_engine(postgresql_server, isolation_level='AUTOCOMMIT'),
    )

    def admit(whether: bool) -> None:
        with server.connect() as connection:
            connection.execute(text(f'ALTER DATABASE {name} ALLOW_CONNECTIONS {whether}'))
            if not whether:
                connection.execute(
                    text(
                        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
                    )
                )

    with running(home, postgresql, kafka.servers, 'consume', '--as-of', LATER.isoformat()) as one:
        producer = open_producer(kafka.servers)
        producer.produce(
            messages[0].topic, messages[0].value, messages[0].key, headers=list(messages[0].headers)
        )
        producer.flush()
        wait_until(lambda: len(one.says('results processed')) == 1)
        admit(False)
        try:
            for message in messages[1:]:
                producer.produce(
                    message.topic, message.value, message.key, headers=list(message.headers)
                )
            producer.flush()
            wait_until(lambda: len(one.says('results wait')) >= 2)
        finally:
            admit(True)
        server.dispose()
        wait_until(lambda: len(one.says('results processed')) >= 2)
        assert one.end() == 0
    check_ledger(home, postgresql, week)


# From a page to a forecast


def openfootball(path: Path, until: datetime, also: int = 0) -> None:
    "Write the season 2025/26 as openfootball does: results before a time, and some after it."
    names = (
        pl.read_csv(LIBRARY / 'data/team_aliases.csv')
        .filter(source='openfootball', league='E0')
        .unique('team', keep='first', maintain_order=True)
    )
    spelling = dict(zip(names['team'], names['alias'], strict=True))
    season = (
        pl.read_csv(LIBRARY / 'data/premier_league.csv', schema_overrides={'season': pl.String})
        .filter(season='2526')
        .with_columns(
            pl.col('home_team', 'away_team').replace_strict(spelling),
            at=pl.concat_str('date', 'time', separator=' ').str.to_datetime(time_zone='UTC'),
        )
    )
    matches, left = [], also
    for row in season.sort('at', 'home_team').to_dicts():
        local = row['at'].astimezone(ZoneInfo('Europe/London'))
        match = {
            'round': '1',
            'date': f'{local:%Y-%m-%d}',
            'time': f'{local:%H:%M}',
            'team1': row['home_team'],
            'team2': row['away_team'],
        }
        over = row['at'] < until or left > 0
        left -= over and row['at'] >= until
        matches.append(
            match | ({'score': {'ft': [row['home_goals'], row['away_goals']]}} if over else {})
        )
    path.write_text(json.dumps({'name': 'Premier League 2025/26', 'matches': matches}))


def test_from_a_page_to_settled_and_new_forecasts(database, home, kafka, tmp_path):
    from football_pred.features.feast_store import get_online_features, open_feature_store
    from football_pred.features.offline import FeatureStoreConfig

    first, after, page, settings = (
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2026, 3, 9, tzinfo=UTC),
        tmp_path / 'en.1.json',
        Settings(home=home),
    )
    with Host() as host:
        host.pages['/2025-26/en.1.json'] = page
        source = OpenFootball(host.url)

        def gather() -> Any:
            collect_payloads(
                database,
                settings.snapshots_folder,
                source,
                ['E0'],
                ['2526'],
                lambda: datetime.now(UTC),
                limits=FAST,
            )
            return load_new_payloads(
                database,
                settings.snapshots_folder,
                {'openfootball': source},
                event_time=datetime.now(UTC),
            )

        openfootball(page, first)
        assert gather().match_count == 380
        history, registry = (
            read_match_history(database, first, ['E0']),
            connect_registry(**settings.registry_options),
        )
        model = DixonColes().fit(history.filter(status='finished'), as_of=first)
        kept = registry.versions.register(
            'E0',
            model,
            'E0-dixon-coles',
            {'as_of': first.isoformat(), 'data_fingerprint': frame_fingerprint(history)},
        )
        registry.promote('E0', kept.version, 'test', 'the first')
        coming = upcoming_fixtures(history, first, 60)
        append_forecasts(
            database,
            HeadFile(settings.ledger_heads_path),
            forecast_fixtures(model, coming.head(1)),
            kept.name,
            kept.version,
            first,
            'x',
            'x',
            'test',
        )
        create_topics(kafka.servers)
        with write_transaction(database) as connection:
            connection.execute(
                update(schema.events).values(sent_at=EMITTED_AT)
            )  # what was told before is no matter here
        place = home, database, kafka.servers
        with (
            running(*place, 'relay') as one,
            running(*place, 'consume', '--as-of', after.isoformat()) as two,
        ):
            openfootball(page, first, also=1)
            assert (gather().change_count, ledger(database)) == (1, (1, 0))
            wait_until(lambda: bool(two.says('results processed')))
            wait_until(lambda: count_events(database, schema.events.c.sent_at.is_(None)) == 0)
            assert (one.end(), two.end()) == (0, 0)
        [done] = two.says('results processed')
        assert (
            done['messages'],
            done['results'],
            done['settled'],
            done['forecasts'],
            done['matches'],
        ) == (1, 1, 1, 12, 13)  # six fixtures of either team are left
    over = coming.head(1)
    following = find_affected_fixtures(
        upcoming_fixtures(read_match_history(database, after, ['E0']), after, 60),
        over,
        {'E0': 'England'},
    )
    made = read_frame(
        database,
        select(schema.predictions)
        .where(schema.predictions.c.run_id == 'stream')
        .order_by(schema.predictions.c.kickoff),
    )
    assert sorted(made['match_id']) == sorted(following)
    [as_of] = set(made['as_of'])
    assert as_of == read_known_results(database, ('E0',), after).last > first
    assert verify_ledger(database, HeadFile(settings.ledger_heads_path)).problems == []
    told = {message.event.match_id for message in understood(kafka.servers, 'football.predictions')}
    assert told == set(following)
    with database.connect() as connection:
        kept = read_heads(connection)
    heads = [message.event for message in understood(kafka.servers, 'football.heads')]
    assert [head.root for head in heads] == [head['root'] for head in kept][-len(heads) :]
    assert heads[-1].size == kept[-1]['size'] == 1 + sum(ledger(database))
    countries = dict(
        read_frame(database, select(schema.leagues.c.league, schema.leagues.c.country)).iter_rows()
    )
    features, _ = build_features_and_states(
        read_match_history(database, after, ['E0']), after, countries
    )
    wanted = pl.DataFrame({'match_id': [*over['match_id'], *following]})
    served = get_online_features(
        open_feature_store(FeatureStoreConfig(settings.features_folder)),
        wanted['match_id'].to_list(),
    )
    assert served.equals(
        wanted.join(features, on='match_id', how='left', maintain_order='left').select(
            served.columns
        )
    )
