"""A day of ten leagues on the production set while its processes are killed without warning: nothing is lost, nothing doubled, nothing stuck.

Each part is killed (SIGKILL) under the running day and started again: worker, relay, consumer, server of forecasts, Redis, PostgreSQL."""

import subprocess
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError

from football_pred.core.database import open_database
from football_pred.core.ledger_log import HeadFile
from football_pred.core.schema import events, job_runs, matches, predictions
from football_pred.core.settings import Settings
from football_pred.forecasts.ledger_verification import verify_ledger
from tests.support.production_day import AS_OF, kill, ordered, production
from tests.support.server import wait_until

TURNS = (
    'relay',
    'worker',
    'redis',
    'consumer',
    'postgresql',
    'api',
    'worker',
    'redis',
    'postgresql',
    'relay',
    'consumer',
    'api',
    'worker',
)


@pytest.fixture
def platform(object_store, tmp_path, shared_data):
    with production(tmp_path, object_store, shared_data) as platform:
        yield platform


def runs(engine: Engine, *columns: str) -> list[tuple]:
    with engine.connect() as connection:
        return connection.execute(select(*[job_runs.c[name] for name in columns])).all()


def kill_in_turn(platform, day: subprocess.Popen, engine: Engine) -> Counter[str]:
    "Kill one part after the other, each under a run under which none was killed before; how often each, until the day is over."
    killed, seen = Counter[str](), set[str]()

    def fresh() -> bool:
        if day.poll() is not None:
            return True
        with suppress(OperationalError):
            new = {
                run_id for run_id, state in runs(engine, 'run_id', 'state') if state == 'running'
            } - seen
            if new and platform.busy():
                seen.update(new)
                return True
        return False

    for name in TURNS:
        wait_until(fresh, 600)
        if day.poll() is not None:
            break
        if name != 'worker':
            platform.kill_and_start(name)
        elif busy := platform.busy():
            kill(busy[0])
        killed[name] += 1
    return killed


def test_nothing_is_lost_or_doubled_when_everything_is_killed_under_a_day(platform, tmp_path):
    engine = open_database(platform.env['FOOTBALL_DATABASE_URL'])
    pipe = {'text': True, 'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT}
    with subprocess.Popen(
        ordered('daily', '2425', '--on', 'workers'), env=platform.env, **pipe
    ) as day:
        try:
            killed = kill_in_turn(platform, day, engine)
            told = day.communicate(timeout=900)[0]
        finally:
            day.kill()
    ended = Counter(runs(engine, 'job', 'state'))
    print(dict(killed), dict(ended))
    assert day.returncode == 0, told
    assert set(killed) == set(TURNS)
    assert sum(count for (_, state), count in ended.items() if state == 'lost') >= 1
    assert {state for _, state in ended} <= {'succeeded', 'lost'}
    with engine.connect() as connection:
        made = connection.execute(
            select(predictions.c.match_id, predictions.c.model, predictions.c.as_of)
        ).all()
        coming = set(
            connection.execute(
                select(matches.c.match_id).where(
                    matches.c.kickoff > AS_OF, matches.c.kickoff <= AS_OF + timedelta(days=7)
                )
            ).scalars()
        )
        told_of = connection.execute(
            select(func.count()).where(events.c.topic == 'predictions')
        ).scalar_one()
    assert len(coming) > 40
    assert coming - {match_id for match_id, _, _ in made} == set()
    assert len(made) == len(set(made)) == told_of
    assert (
        verify_ledger(engine, HeadFile(Settings(home=tmp_path / 'home').ledger_heads_path)).problems
        == []
    )

    def unsent() -> int:
        with engine.connect() as connection:
            return connection.execute(
                select(func.count()).where(events.c.sent_at.is_(None))
            ).scalar_one()

    wait_until(lambda: not unsent())
    engine.dispose()
