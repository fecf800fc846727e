"Live forecasts of matches that were played long ago: the ledger's clock stands in the past."

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import polars as pl
from sqlalchemy import Engine, select, update

from football_pred.core import schema
from football_pred.core.database import batched, write_transaction
from football_pred.core.ledger_log import Clock, HeadFile

CLOCK_GUARDS = ('predictions_clock', 'ledger_entries_clock')
OVER = ('finished', 'awarded')
SURE_DRAW = {  # columns of bad forecasts
    'p_home': 0.01,
    'p_draw': 0.98,
    'p_away': 0.01,
    'confidence': 0.98,
    'predicted_result': pl.lit('draw'),
}


def drop_guards(engine: Engine, names: tuple[str, ...]) -> None:
    "Remove triggers of the ledger."
    tables = {name: guard.table for name, guard in schema.insert_guards('sqlite').items()}
    with write_transaction(engine) as connection:
        for name in names:
            table = '' if engine.dialect.name == 'sqlite' else f' ON {tables[name]}'
            connection.exec_driver_sql(f'DROP TRIGGER {name}{table}')


@contextmanager
def unknown_results(engine: Engine, after: datetime) -> Iterator[None]:
    "Until the end of the block no match that kicked off later is known to be over."
    columns = schema.matches.c
    with write_transaction(engine) as connection:
        over = select(columns.match_id, columns.status)
        over = over.where(columns.kickoff > after, columns.status.in_(OVER))
        statuses = {match_id: status for match_id, status in connection.execute(over)}
        _set_status(connection, dict.fromkeys(statuses, 'scheduled'))
    try:
        yield
    finally:
        with write_transaction(engine) as connection:
            _set_status(connection, statuses)


def _set_status(connection, statuses: dict[str, str]) -> None:
    for status in set(statuses.values()):
        match_ids = [match_id for match_id, value in statuses.items() if value == status]
        for batch in batched(match_ids):
            statement = update(schema.matches).where(schema.matches.c.match_id.in_(batch))
            connection.execute(statement.values(status=status))


@contextmanager
def past_clock(engine: Engine, moment: datetime) -> Iterator[Clock]:
    """A clock that shows a moment of the past, of which no later result is known.

    The guards of the clock are away until the end of the block; the log must hold no later entry.
    """
    drop_guards(engine, CLOCK_GUARDS)
    try:
        with unknown_results(engine, moment):
            yield lambda _connection: moment
    finally:
        with write_transaction(engine) as connection:
            schema.renew_guards(connection)


def forget_ledger(engine: Engine, heads: HeadFile) -> None:
    "Empty the ledger of a SQLite database, so that its log can begin in the past."
    with write_transaction(engine) as connection:
        for name in schema.sqlite_guards():
            connection.exec_driver_sql(f'DROP TRIGGER {name}')
        for table in reversed(schema.APPEND_ONLY):
            connection.execute(table.delete())
        connection.execute(schema.predictions.delete())
        schema.renew_guards(connection)
    heads.path.unlink(missing_ok=True)
