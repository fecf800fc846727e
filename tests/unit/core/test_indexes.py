"Frequent queries use an index, on both databases."

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, Table, select, text

from football_pred.core import schema
from football_pred.core.database import open_database, write_transaction
from tests.support.services import new_database

MANY = 20_000  # rows of each large table: reading all is not the quickest
NEVER = {'sqlite': "'1999-01-01 00:00:00.000000'", 'postgresql': "timestamptz '1999-01-01Z'"}
HOURLY = {
    'sqlite': "strftime('%Y-%m-%d %H:%M:%S.000000', '2000-01-01', '+' || (i/2) || ' hours')",
    'postgresql': "timestamptz '2000-01-01Z' + (i/2)*interval '1 hour'",
}


def insert(connection: Connection, table: Table, count: int, /, **columns: str) -> None:
    "Rows whose columns are SQL of the numbers `i` from 0 on."
    numbers = (
        'WITH RECURSIVE numbers(i) AS '
        f'(SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < {count - 1})'
    )
    names = ', '.join(columns)
    values = ', '.join(columns.values())
    statement = f'INSERT INTO {table.name} ({names}) {numbers} SELECT {values} FROM numbers'
    connection.execute(text(statement.replace(':', r'\:')))


def fill(engine: Engine) -> None:
    when, never, number = HOURLY[engine.dialect.name], NEVER[engine.dialect.name], 'CAST(i AS TEXT)'
    league, season = "substr('ABCDEFGHIJ', i % 10 + 1, 1)", "'2526'"
    origin = dict(source="'s'", snapshot_id="'s'")
    with write_transaction(engine) as connection:
        for statement in (
            ('ALTER TABLE predictions DISABLE TRIGGER USER',)
            if engine.dialect.name == 'postgresql'
            else (
                'DROP TRIGGER predictions_chain',
                'DROP TRIGGER predictions_clock',
                'DROP TRIGGER predictions_live',
                'DROP TRIGGER settlements_cause',
                'DROP TRIGGER predictions_replace',
                'DROP TRIGGER settlements_replace',
            )
        ):
            connection.exec_driver_sql(statement)  # they look at each row
        insert(
            connection,
            schema.leagues,
            10,
            league=league,
            name=number,
            country="'England'",
            tier='1',
            time_zone="'UTC'",
        )
        insert(
            connection,
            schema.snapshots,
            1,
            snapshot_id="'s'",
            source="'s'",
            url="'u'",
            kind="'k'",
            sha256="'0'",
            bytes='1',
            fetched_at=when,
            path="'x'",
            sequence='1',
            rows='1',
        )
        insert(
            connection,
            schema.matches,
            MANY,
            match_id=number,
            league=league,
            season=season,
            kickoff=when,
            kickoff_known='true',
            date=f'date({when})',
            home_team="'a'",
            away_team="'b'",
            neutral='false',
            status="'scheduled'",
            **origin,
        )
        insert(
            connection,
            schema.odds,
            3 * MANY,
            match_id=f'CAST(i % {MANY} AS TEXT)',
            bookmaker=f'CAST(i/{MANY} AS TEXT)',
            market="'1x2'",
            line="''",
            selection="'home'",
            known_at=when,
            phase="'opening'",
            price='2',
            **origin,
        )
        insert(
            connection,
            schema.events,
            MANY,
            event_id=number,
            topic="CASE i % 50 WHEN 0 THEN 'models' ELSE 'odds' END",
            key="'k'",
            payload="'{}'",
            created_at=when,
            sent_at=f'CASE WHEN i < {MANY - 100} THEN {when} END',
        )
        insert(
            connection,
            schema.job_runs,
            MANY,
            run_id=number,
            job="'job ' || (i % 20)",
            key="'key ' || i",
            params="'{}'",
            as_of=when,
            upstream="'{}'",
            state="'succeeded'",
            lease="'l'",
            attempts='1',
            processes="'{}'",
            started_at=when,
            heartbeat_at=when,
            finished_at=when,
        )
        insert(
            connection,
            schema.data_collection_logs,
            MANY,
            log_id=number,
            data_source="'source ' || (i % 10)",
            collection_type="'results'",
            url="'u' || i",
            start_time=when,
            end_time=when,
            status="'success'",
            records='1',
            errors='0',
            attempts='1',
            run_id="'r'",
            run_key="'run ' || (i/20)",
        )
        insert(
            connection,
            schema.predictions,
            MANY,
            sequence='i + 1',
            prediction_id=number,
            match_id=number,
            league=league,
            season=season,
            home_team="'a'",
            away_team="'b'",
            kickoff=when,
            model="'m'",
            model_version="'1'",
            as_of=never,
            created_at=when,
            p_home='0.5',
            p_draw='0.3',
            p_away='0.2',
            predicted_result="'home_win'",
            confidence='0.5',
            data_fingerprint="'d'",
            feature_fingerprint="'f'",
            run_id="'r'",
            previous_seal=number,
            seal=number,
        )
        insert(
            connection,
            schema.settlements,
            MANY - 100,
            prediction_id=number,
            revision='1',
            settled_as_of=when,
            home_goals='1',
            away_goals='0',
            outcome="'home'",
            hit='true',
            rps='0.1',
            log_loss='0.1',
            brier='0.1',
            run_id="'r'",
            seal="'s'",
        )
        connection.exec_driver_sql('ANALYZE')


@pytest.fixture(scope='module', params=['sqlite', 'postgresql'])
def crowded(request, tmp_path_factory) -> Iterator[Engine]:
    "A database with many rows."

    def crowd(url: str) -> Iterator[Engine]:
        engine = open_database(url)
        fill(engine)
        yield engine
        engine.dispose()

    if request.param == 'sqlite':
        yield from crowd(f"sqlite:///{tmp_path_factory.mktemp('crowded') / 'football.db'}")
    else:
        with new_database(request.getfixturevalue('postgresql_server')) as url:
            yield from crowd(url)


def hot_queries() -> dict:
    "Frequent queries, by name; none of them may read a large table whole."
    matches, odds, predictions, settlements = (
        schema.matches.c,
        schema.odds.c,
        schema.predictions.c,
        schema.settlements.c,
    )
    events, runs, logs = schema.events.c, schema.job_runs.c, schema.data_collection_logs.c
    soon = datetime(2001, 1, 1, tzinfo=UTC)
    unsettled = (
        ~select(settlements.prediction_id)
        .where(settlements.prediction_id == predictions.prediction_id)
        .exists()
    )
    return {
        'upcoming matches of leagues': select(schema.matches).where(
            matches.kickoff > soon,
            matches.kickoff <= soon + timedelta(days=20),
            matches.league.in_(['A', 'B']),
        ),
        'matches of a day': select(schema.matches)
        .where(matches.date == soon.date())
        .order_by(matches.kickoff, matches.match_id)
        .limit(100),
        'latest matches': select(schema.matches)
        .order_by(matches.kickoff.desc(), matches.match_id.desc())
        .limit(100),
        'prices of matches': select(schema.odds).where(
            odds.match_id.in_([str(number) for number in range(100)]), odds.known_at <= soon
        ),
        'latest forecasts of a league': select(schema.predictions)
        .where(predictions.league == 'C')
        .order_by(predictions.sequence.desc())
        .limit(100),
        'forecasts of a match': select(schema.predictions)
        .where(predictions.match_id == '77')
        .order_by(predictions.sequence.desc()),
        'head of the ledger': select(predictions.sequence, predictions.seal)
        .order_by(predictions.sequence.desc())
        .limit(1),
        'unsettled forecasts of recent matches': select(predictions.prediction_id)
        .join(schema.matches, matches.match_id == predictions.match_id)
        .where(
            matches.league == 'A',
            matches.kickoff > soon,
            matches.kickoff <= soon + timedelta(days=7),
            unsettled,
        ),
        'scores of a forecast': select(schema.settlements).where(settlements.prediction_id == '77'),
        'unsent events': select(schema.events)
        .where(events.sent_at.is_(None))
        .order_by(events.sequence)
        .limit(100),
        'last event of a topic': select(schema.events)
        .where(events.topic == 'models')
        .order_by(events.sequence.desc())
        .limit(1),
        'last run of a job': select(schema.job_runs)
        .where(runs.job == 'job 3')
        .order_by(runs.started_at.desc(), runs.run_id.desc())
        .limit(1),
        'latest runs': select(schema.job_runs)
        .order_by(runs.started_at.desc(), runs.run_id.desc())
        .limit(100),
        'last success of a key': select(schema.job_runs)
        .where(runs.key == 'key 77', runs.state == 'succeeded')
        .order_by(runs.finished_at.desc())
        .limit(1),
        'runs that are running': select(schema.job_runs).where(runs.state == 'running'),
        'fetches of a run': select(logs.url).where(
            logs.run_key == 'run 7', logs.status == 'success'
        ),
        'last fetches of a source': select(schema.data_collection_logs)
        .where(logs.data_source == 'source 3')
        .order_by(logs.start_time.desc())
        .limit(10),
    }


def nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for part in plan.get('Plans', []):
        yield from nodes(part)


@pytest.mark.parametrize('name', hot_queries())
def test_a_frequent_query_uses_an_index(crowded, name):
    query = hot_queries()[name]
    with crowded.connect() as connection:
        compiled = query.compile(connection, compile_kwargs={'literal_binds': True})
        if crowded.dialect.name == 'sqlite':
            steps = [row[3] for row in connection.exec_driver_sql(f'EXPLAIN QUERY PLAN {compiled}')]
            in_order = (
                name == 'head of the ledger'
            )  # the table itself is in the order of its key, and one row is read
            assert (
                in_order
                or [step for step in steps if step.startswith('SCAN') and ' USING ' not in step]
                == []
            )
            if name.startswith('latest'):
                assert not any(step.endswith('TEMP B-TREE FOR ORDER BY') for step in steps), steps
        else:
            plan = connection.exec_driver_sql(f'EXPLAIN (FORMAT JSON) {compiled}').scalar()[0][
                'Plan'
            ]
            assert [
                node['Relation Name'] for node in nodes(plan) if node['Node Type'] == 'Seq Scan'
            ] == []
