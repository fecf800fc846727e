"Events of the outbox for tests of the relay and the consumer."

from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import Engine, func, select

from football_pred.core.database import write_transaction
from football_pred.core.outbox import emit_events
from football_pred.core.schema import events

EMITTED_AT = datetime(2026, 4, 1, tzinfo=UTC)
RESULT_COLUMNS = (
    'match_id',
    'league',
    'season',
    'home_team',
    'away_team',
    'source',
    'snapshot_id',
    'home_goals',
    'away_goals',
)


def emit_odds(engine: Engine, number: int, keys: int = 50, start: int = 0) -> None:
    "Write a number of events about the odds of a few matches to the outbox."
    payloads = []
    for i in range(start, start + number):
        match_id = f'm{i % keys}'
        payload = {'version': 1, 'match_id': match_id, 'prices': i + 1, 'snapshot_id': 's'}
        payloads.append((match_id, payload | {'known_at': EMITTED_AT.isoformat()}))
    with write_transaction(engine) as connection:
        emit_events(connection, 'odds', payloads, EMITTED_AT)


def count_events(engine: Engine, *conditions: Any) -> int:
    "Number of events in the outbox that fulfil all conditions."
    query = select(func.count()).select_from(events).where(*conditions)
    with engine.connect() as connection:
        return connection.scalar(query)


def count_sent(engine: Engine) -> int:
    "Number of events that were sent."
    return count_events(engine, events.c.sent_at.is_not(None))


def result_events(matches: pl.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    "Key and payload of the event about the result of each match."
    rows = []
    for match in matches.to_dicts():
        payload = {'version': 1, 'status': 'finished'}
        payload |= {name: match[name] for name in RESULT_COLUMNS}
        payload |= {name: match[name].isoformat() for name in ('kickoff', 'result_known_at')}
        rows.append((match['match_id'], payload))
    return rows
