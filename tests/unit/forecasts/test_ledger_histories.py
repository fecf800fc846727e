"""Random histories of a ledger: without a forgery no alarm, with one never none.

What happens to honest homes: appends of several models, settlements, corrections, moved kick-offs, stops between a transaction and the
file of heads, torn lines, clocks that step back, backups in the middle of writing and their restore, homes of the release before.
`FOOTBALL_LEDGER_HISTORIES` is the number of histories; 1,000 take some minutes."""

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, event, func, select, update

from football_pred.core import migrate, schema
from football_pred.core.as_of import read_matches
from football_pred.core.backup import create_backup, restore_database, restore_files
from football_pred.core.database import open_database, open_engine, write_transaction
from football_pred.core.ledger_log import (
    FORMER_ANCHORS_NAME,
    HeadFile,
    LedgerClockError,
    NewEntry,
    log_size,
    read_heads,
    record_entry,
    record_restore,
)
from football_pred.forecasts.ledger import append_forecasts, compute_seal, settle_forecasts
from football_pred.forecasts.ledger_verification import read_head_file, verify_ledger
from tests.support.ledgers import (
    NOW,
    PREDICTED,
    SNAPSHOT,
    UPCOMING,
    fill_matches,
    forge,
    guard,
    intrude,
    unguard,
)

HISTORIES = int(os.environ.get('FOOTBALL_LEDGER_HISTORIES', '25'))
COMPILED: dict[Any, Any] = {}  # statements, for the engines of all histories
START = NOW  # the first match begins a day later

FORECASTS = schema.predictions.columns.keys()


class Stop(Exception):
    "The process is killed."


class StoppedHeadFile(HeadFile):
    "A file of heads whose writer is killed before it writes."

    def keep(self, head: dict[str, Any]) -> None:
        raise Stop


class World:
    "Time, and the engines of a machine whose SQLite shows that time."

    def __init__(self, now: datetime) -> None:
        self.now = now

    def strftime(self, form: str, value: str, *modifiers: str) -> str:
        "The function of SQLite that clocks and guards call."
        assert (form, value) == ('%Y-%m-%d %H:%M:%f', 'now')
        shown = self.now
        for modifier in modifiers:
            number, unit = modifier.split()
            assert unit == 'seconds'
            shown += timedelta(seconds=int(number))
        return f'{shown:%Y-%m-%d %H:%M:%S}.{shown.microsecond // 1000:03}'

    def open(self, path: Path) -> Engine:
        engine = open_engine(f'sqlite:///{path}')

        def connect(connection: sqlite3.Connection, _: Any) -> None:
            connection.execute('PRAGMA synchronous=OFF')
            connection.create_function('strftime', -1, self.strftime)

        event.listen(engine, 'connect', connect)
        return engine.execution_options(compiled_cache=COMPILED)


class Interleaved(dict[str, Path]):
    "Files of a backup; something happens between the dump of the database and their copy."

    def __init__(self, files: dict[str, Path], happens: Callable[[], None]) -> None:
        super().__init__(files)
        self.happens = happens

    def items(self) -> Any:
        self.happens()
        return super().items()


class History:
    "An honest home, to which random things happen."

    def __init__(self, folder: Path, home: Path, seed: int) -> None:
        self.random = Random(seed)
        self.folder = folder
        self.world = World(START + timedelta(minutes=1))
        self.home = home
        self.engine = self.world.open(home / 'football.db')
        self.backups: list[str] = []
        self.published: list[dict[str, Any]] = []
        self.number = 0
        self.said: list[str] = []
        self.settled_at = START

    @property
    def heads(self) -> HeadFile:
        return HeadFile(self.home / 'ledger-heads.jsonl')

    def writer(self) -> HeadFile:
        "The file of heads, of a writer that is killed now and then."
        stops = self.random.random() < 0.15
        return StoppedHeadFile(self.heads.path) if stops else self.heads

    def publish(self) -> None:
        "Others read the heads of the file and of the database."
        with self.engine.connect() as connection:
            stored = read_heads(connection)
        known = {json.dumps(head, sort_keys=True) for head in self.published}
        for head in [*read_head_file(self.heads.path).heads, *stored]:
            if json.dumps(head, sort_keys=True) not in known:
                self.published.append(head)
                known.add(json.dumps(head, sort_keys=True))

    # what happens

    def append(self) -> None:
        model = self.random.choice(['SIM-a', 'SIM-b', 'SIM-c'])
        as_of = self.world.now - timedelta(hours=self.random.choice([0, 0, 1, 30, 300]))
        kickoffs = dict(self.kickoffs())
        chosen = PREDICTED.filter(
            pl.col('match_id').is_in(
                [match_id for match_id, kickoff in kickoffs.items() if kickoff > as_of]
            )
        ).sample(fraction=self.random.random(), seed=self.random.randrange(99))
        forecasts = chosen.with_columns(
            kickoff=pl.col('match_id').replace_strict(
                kickoffs, return_dtype=pl.Datetime('us', 'UTC')
            )
        )
        append_forecasts(self.engine, self.writer(), forecasts, model, '1', as_of, 'd', 'f', 'r')

    def kickoffs(self) -> list[tuple[str, datetime]]:
        columns = schema.matches.c
        coming = columns.match_id.in_(UPCOMING['match_id'].to_list())
        with self.engine.connect() as connection:
            return list(
                connection.execute(select(columns.match_id, columns.kickoff).where(coming)).all()
            )

    def settle(self) -> None:
        now = self.world.now
        writer = self.writer()
        settle_forecasts(self.engine, writer, read_matches(self.engine, now), now, 's')
        self.settled_at = now

    def promote(self) -> None:
        self.number += 1
        content = {'model': 'SIM-a', 'version': str(self.number), 'league': 'SIM'}
        record_entry(
            self.engine, self.writer(), NewEntry('promotion', f'SIM-a/{self.number}', content)
        )

    def pass_time(self) -> None:
        step = self.random.choice([timedelta(seconds=1), timedelta(hours=9), timedelta(days=5)])
        self.world.now += step * self.random.random()
        self.play()
        if self.world.now - self.settled_at > timedelta(days=2):
            self.settle()

    def fetch(self) -> dict[str, Any]:
        "A payload arrives."
        with self.engine.connect() as connection:
            number = connection.scalar(select(func.max(schema.snapshots.c.sequence))) + 1
        row = SNAPSHOT | {
            'snapshot_id': f's{number}',
            'sha256': f'{self.random.randrange(2**256):064x}',
            'sequence': number,
            'fetched_at': self.world.now,
        }
        with write_transaction(self.engine) as connection:
            connection.execute(schema.snapshots.insert().values(row))
        return row

    def play(self) -> None:
        "Matches that are over are reported."
        known = dict(self.kickoffs())
        snapshot = self.fetch()
        columns = schema.matches.c
        with write_transaction(self.engine) as connection:
            for row in UPCOMING.to_dicts():
                known_at = known[row['match_id']] + timedelta(hours=2)
                if known_at <= self.world.now:
                    is_open = (columns.match_id == row['match_id']) & (
                        columns.status == 'scheduled'
                    )
                    values = dict(
                        status='finished',
                        home_goals=row['home_goals'],
                        away_goals=row['away_goals'],
                        result_known_at=known_at,
                        snapshot_id=snapshot['snapshot_id'],
                    )
                    over = connection.execute(update(schema.matches).where(is_open).values(values))
                    if over.rowcount:
                        change = self.change(
                            row['match_id'], snapshot, 'status', 'scheduled', 'finished'
                        )
                        connection.execute(schema.fixture_changes.insert().values(change))

    def change(
        self, match_id: str, snapshot: dict[str, Any], field: str, before: str, after: str
    ) -> dict[str, Any]:
        "A row of table fixture_changes."
        return {
            'match_id': match_id,
            'snapshot_id': snapshot['snapshot_id'],
            'field': field,
            'before': before,
            'after': after,
            'changed_at': self.world.now,
        }

    def correct_result(self) -> None:
        columns = schema.matches.c
        snapshot = self.fetch()
        chosen = self.random.choice(UPCOMING['match_id'].to_list())
        over = (columns.match_id == chosen) & (columns.status == 'finished')
        values = {'home_goals': self.random.randrange(4), 'snapshot_id': snapshot['snapshot_id']}
        with write_transaction(self.engine) as connection:
            connection.execute(update(schema.matches).where(over).values(values))

    def move_kickoff(self) -> None:
        columns = schema.matches.c
        snapshot = self.fetch()
        match_id, before = self.random.choice(self.kickoffs())
        after = before + timedelta(days=self.random.randrange(1, 4))
        is_open = (columns.match_id == match_id) & (columns.status == 'scheduled')
        form = '%Y-%m-%d %H:%M:%S+00:00'
        texts = (before.strftime(form), after.strftime(form))
        change = self.change(match_id, snapshot, 'kickoff', *texts)
        with write_transaction(self.engine) as connection:
            values = {'kickoff': after, 'snapshot_id': snapshot['snapshot_id']}
            moved = connection.execute(update(schema.matches).where(is_open).values(values))
            if moved.rowcount:
                connection.execute(schema.fixture_changes.insert().values(change))

    def tear(self) -> None:
        "A power cut leaves a part of a line."
        if self.heads.path.exists():
            with self.heads.path.open('ab') as file:
                file.write(b'{"at":"2026-11-30T0'[: self.random.randrange(1, 18)])

    def step_back(self) -> None:
        seconds = self.random.choice([0.5, 3, 60, 250, 4000, 86_400, 300 * 86_400])
        self.world.now -= timedelta(seconds=seconds)
        try:
            self.append()
            self.settle()
        except LedgerClockError:
            self.world.now += timedelta(seconds=seconds)

    def back_up(self) -> None:
        files = {name: self.home / name for name in (self.heads.path.name, FORMER_ANCHORS_NAME)}
        self.number += 1
        at = START + timedelta(seconds=self.number)

        def write() -> None:
            if self.random.random() < 0.7:
                self.append()
                self.settle()

        try:
            create_backup(self.engine, self.folder / 'backups', at, Interleaved(files, write))
        except Stop:
            return
        self.backups.append(f'{at:%Y%m%dT%H%M%SZ}')

    def restore(self) -> None:
        if not self.backups:
            return
        self.publish()
        name = self.random.choice(self.backups)
        self.engine.dispose()
        self.number += 1
        home = self.folder / f'home {self.number}'
        home.mkdir()
        restore_database(self.folder / 'backups', name, f'sqlite:///{home}/football.db')
        if self.heads.path.exists() and self.random.random() < 0.5:  # the old disk can be read
            shutil.copy(self.heads.path, home / self.heads.path.name)
        targets = {name: home / name for name in (self.heads.path.name, FORMER_ANCHORS_NAME)}
        restore_files(self.folder / 'backups', name, targets)
        self.home = home
        self.engine = self.world.open(home / 'football.db')
        self.settled_at = START
        self.backups = [backup for backup in self.backups if backup <= name]
        with self.engine.connect() as connection:
            is_open = log_size(connection) > 0
        record_restore(self.engine, self.heads, name, self.published)
        if not is_open:  # who holds heads of the log that was lost is told so, with reason
            self.published = []
        self.play()

    EVENTS = (
        ('append', 6),
        ('settle', 5),
        ('pass_time', 8),
        ('promote', 1),
        ('correct_result', 2),
        ('move_kickoff', 1),
        ('tear', 2),
        ('step_back', 2),
        ('back_up', 2),
        ('restore', 2),
    )

    def happen(self, *without: str) -> None:
        "Let one thing happen, or its process be killed."
        events = [(name, weight) for name, weight in self.EVENTS if name not in without]
        names, weights = zip(*events, strict=True)
        name = self.random.choices(names, weights)[0]
        self.said.append(name)
        self.world.now += timedelta(milliseconds=self.random.randrange(1, 5000))
        try:
            getattr(self, name)()
        except Stop:
            self.said.append('stopped')

    def problems(self) -> list[str]:
        return verify_ledger(
            self.engine,
            self.heads,
            kept_heads={'elsewhere': self.published},
            clock_time=self.world.now,
        ).problems


def home_of_the_release_before(home: Path) -> None:
    "A home at migration 0003: a chain of six forecasts, some settled, with the file of anchors."
    engine = open_engine(f'sqlite:///{home}/football.db')
    with write_transaction(engine) as connection:
        migrate.upgrade_schema(connection, '0003')
    fill_matches(engine)
    previous = schema.GENESIS_SEAL
    columns = [name for name in FORECASTS if name != 'kind']
    anchors = []
    with write_transaction(engine) as connection:
        for sequence, row in enumerate(PREDICTED.head(6).to_dicts(), 1):
            row |= dict(
                sequence=sequence,
                prediction_id=f'{sequence:032x}',
                model='SIM-old',
                model_version='0',
                as_of=START - timedelta(days=3),
                created_at=START - timedelta(days=3 - sequence / 10),
                data_fingerprint='d',
                feature_fingerprint='f',
                run_id='r',
                previous_seal=previous,
            )
            row = {name: row[name] for name in columns if name != 'seal'}
            row['seal'] = previous = compute_seal(row)
            connection.execute(schema.predictions.insert().values(row))
            anchors.append(json.dumps({'sequence': sequence, 'seal': previous}) + '\n')
    (home / FORMER_ANCHORS_NAME).write_text(''.join(anchors[1::2]))
    engine.dispose()


@pytest.fixture(scope='module')
def homes(tmp_path_factory, sqlite) -> list[Path]:
    "Homes to begin with: three new ones, and one of the release before, upgraded."
    folder = tmp_path_factory.mktemp('homes')
    new, old = folder / 'new', folder / 'old'
    for home in (new, old):
        home.mkdir()
    engine = open_database(f'sqlite:///{new}/football.db')
    fill_matches(engine)
    engine.dispose()
    home_of_the_release_before(old)
    open_database(f'sqlite:///{old}/football.db').dispose()
    return [new, new, new, old]


@contextmanager
def begun(homes: list[Path], folder: Path, seed: int) -> Iterator[History]:
    "A history at its beginning; its files are removed at its end."
    place = folder / f'history {seed}'
    home = Path(shutil.copytree(homes[seed % len(homes)], place / 'home 0'))
    history = History(place, home, seed)
    yield history
    history.engine.dispose()
    shutil.rmtree(place)


def test_honest_histories_raise_no_alarm(homes, tmp_path):
    alarms = {}
    for seed in range(HISTORIES):
        with begun(homes, tmp_path, seed) as history:
            for _ in range(history.random.randrange(4, 20)):
                history.happen()
                if history.random.random() < 0.2:
                    history.publish()
                if history.random.random() < 0.2 and (found := history.problems()):
                    break
            found = history.problems()
            if found:
                alarms[seed] = (history.said, found)
    assert alarms == {}


# ---- one forgery in each history


def execute(*statements: str) -> Callable[[Any, Random], int]:
    "Statements of a forger; they have changed something if a row was changed."

    def change(run: Callable[[str], Any], random: Random) -> int:
        offset = str(random.randrange(10**6))
        return sum(run(statement.replace('CHOSEN', offset)).rowcount for statement in statements)

    return change


ANY = '(SELECT {0} FROM {1} ORDER BY 1 LIMIT 1 OFFSET CHOSEN % (SELECT max(1, count(*)) FROM {1}))'
FORECAST = 'prediction_id = ' + ANY.format('prediction_id', 'predictions')
SCORE = 'prediction_id = ' + ANY.format('prediction_id', 'settlements')
ENTRY = 'entry = ' + ANY.format('entry', 'ledger_entries')
HEAD = 'size = ' + ANY.format('size', 'ledger_heads')
TAIL = """entry > (SELECT max(entry) - 1 FROM ledger_entries)"""
EDITS = [
    execute(f'UPDATE predictions SET p_home = p_home + 1e-13 WHERE {FORECAST}'),
    execute(f"UPDATE predictions SET kind = iif(kind = 'live', 'replay', 'live') WHERE {FORECAST}"),
    execute(f"UPDATE predictions SET as_of = '2020-01-01 00:00:00.000000' WHERE {FORECAST}"),
    execute(f"UPDATE predictions SET model = model || ' ' WHERE {FORECAST}"),
    execute(f'DELETE FROM predictions WHERE {FORECAST}'),
    execute(f'DELETE FROM settlements WHERE {SCORE}'),
    execute(f'UPDATE settlements SET home_goals = home_goals + 1 WHERE {SCORE}'),
    execute(f'UPDATE settlements SET rps = 0.0 WHERE rps <> 0 AND {SCORE}'),
    execute(f'UPDATE settlements SET payload_sha256 = NULL WHERE payload_sha256 <> "" AND {SCORE}'),
    execute(
        f"UPDATE ledger_entries SET leaf = replace(leaf, '0', '1') WHERE instr(leaf, '0') AND {ENTRY}"
    ),
    execute(f"UPDATE ledger_entries SET recorded_at = '2020-01-01 00:00:00.000000' WHERE {ENTRY}"),
    execute(f'DELETE FROM ledger_entries WHERE {ENTRY}'),
    execute(f'DELETE FROM ledger_entries WHERE {TAIL}'),
    execute(
        f"UPDATE ledger_heads SET root = replace(root, '0', '1') WHERE instr(root, '0') AND {HEAD}"
    ),
    execute(
        f"""INSERT INTO settlements SELECT prediction_id, 9, settled_as_of, home_goals, away_goals,
        outcome, hit, rps, log_loss, brier, run_id, seal, payload_sha256 FROM settlements
        WHERE {SCORE} LIMIT 1"""
    ),
    execute(
        f"""UPDATE matches SET kickoff = '2020-01-01 00:00:00.000000'
        WHERE match_id = {ANY.format('match_id', 'predictions')}"""
    ),
]
REWRITES = [  # with everything recomputed
    execute(f'UPDATE predictions SET home_rate = home_rate + 1e-3 WHERE {FORECAST}'),
    execute(f"UPDATE predictions SET created_at = '2020-01-01 00:00:00.000000' WHERE {FORECAST}"),
    execute(f"UPDATE settlements SET run_id = run_id || 'x' WHERE {SCORE}"),
    execute(
        """UPDATE ledger_entries SET content = json_set(content, '$.origin',
        substr(json_extract(content, '$.origin'), 2) || '0') WHERE kind = 'opening'"""
    ),
]


def rewrite(history: History) -> bool:
    "Change a row that a head elsewhere covers, with everything that lies beside it."
    change = history.random.choice(REWRITES)
    changed = []
    forge(
        history.home,
        lambda connection: changed.append(change(connection.exec_driver_sql, history.random)),
    )
    return changed[0] > 0


def edit(history: History) -> bool:
    "Change a row past the guards."
    change = history.random.choice(EDITS)
    with closing(intrude(history.home)) as connection:
        unguard(connection)
        count = change(connection.execute, history.random)
        guard(connection)
    return count > 0


ONCE_MISSED = (811, 588)  # the head of a restore; a kick-off that had moved before


def test_a_forgery_in_a_history_is_never_missed(homes, tmp_path):
    seeds = [*range(HISTORIES), *ONCE_MISSED]
    missed, forged = {}, 0
    for seed in seeds:
        with begun(homes, tmp_path, seed) as history:
            history.happen(*[name for name, _ in history.EVENTS if name != 'append'])
            for _ in range(history.random.randrange(2, 14)):
                history.happen()
            history.publish()
            assert history.problems() == []
            while not history.random.choice([edit, rewrite])(history):
                history.happen('restore')  # there was no row of that kind
                history.publish()
            forged += 1
            if history.problems() == []:
                missed[seed] = history.said
    assert (missed, forged) == ({}, len(seeds))


# ---- several machines and readers at once


@pytest.fixture(params=['sqlite', 'postgresql'])
def shared(request, tmp_path) -> Iterator[Engine]:
    "A ledger that several processes write to."
    if request.param == 'postgresql':
        engine = request.getfixturevalue('postgresql')
    else:
        engine = open_database(f'sqlite:///{tmp_path}/football.db')
    fill_matches(engine)
    yield engine
    engine.dispose()


def seal(engine: Engine, heads: HeadFile, model: str, turn: int) -> int:
    "Append three forecasts."
    as_of = NOW + timedelta(minutes=turn)
    forecasts = PREDICTED[turn % 7 : turn % 7 + 3]
    return append_forecasts(engine, heads, forecasts, model, '1', as_of, 'd', 'f', 'r')


def test_machines_that_share_a_server_raise_no_alarm(postgresql, tmp_path):
    "Each has its own file of heads; one begins later, and writers are killed."
    fill_matches(postgresql)
    random = Random(1)
    files = [HeadFile(tmp_path / name / 'ledger-heads.jsonl') for name in ('first', 'second')]
    for turn in range(30):
        machine = 0 if turn < 5 else random.randrange(2)
        stops = random.random() < 0.2
        heads = StoppedHeadFile(files[machine].path) if stops else files[machine]
        try:
            seal(postgresql, heads, f'SIM-{machine}', turn)
        except Stop:
            assert stops
        for file in files:
            assert verify_ledger(postgresql, file).problems == []
    both = {'the other machine': read_head_file(files[1].path).heads}
    assert verify_ledger(postgresql, files[0], kept_heads=both).problems == []


def test_who_verifies_while_others_write_sees_no_alarm(shared, tmp_path):
    heads = HeadFile(tmp_path / 'ledger-heads.jsonl')
    sizes, done = set(), threading.Event()

    def write() -> None:
        for turn in range(12):
            seal(shared, heads, 'SIM-a', turn)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not done.is_set() and not writing.done():
            verification = verify_ledger(shared, heads)
            sizes.add(verification.entries)
            assert verification.problems == []
        writing.result()
    assert verify_ledger(shared, heads).problems == []
    assert len(sizes) >= 1


@pytest.mark.parametrize('size', ['first', 'middle', 'last'])
def test_what_is_new_since_a_head_raises_no_alarm(shared, tmp_path, size):
    heads = HeadFile(tmp_path / 'ledger-heads.jsonl')
    for turn in range(4):
        seal(shared, heads, 'SIM-a', turn)
    kept = read_head_file(heads.path).heads
    since = {'first': kept[0], 'middle': kept[2], 'last': kept[-1]}[size]['size']
    verification = verify_ledger(shared, heads, since=since)
    assert (verification.problems, verification.since) == ([], since)


def test_verification_creates_nothing(shared, tmp_path):
    heads = HeadFile(tmp_path / 'elsewhere' / 'ledger-heads.jsonl')
    assert verify_ledger(shared, heads).entries == 0
    assert not heads.path.parent.exists()


def test_a_backup_from_before_the_log_opens_another_log_and_says_so(tmp_path, sqlite):
    "The file of heads is set aside; who holds a head of the lost log is told."
    engine = open_database(f'sqlite:///{tmp_path}/football.db')
    fill_matches(engine)
    create_backup(engine, tmp_path / 'backups', NOW, {})
    heads = HeadFile(tmp_path / 'ledger-heads.jsonl')
    seal(engine, heads, 'SIM-a', 0)
    kept = read_head_file(heads.path).heads
    engine.dispose()
    for path in tmp_path.glob('football.db*'):
        path.unlink()
    restored = restore_database(
        tmp_path / 'backups', 'latest', f'sqlite:///{tmp_path}/football.db'
    ).name
    engine = open_database(f'sqlite:///{tmp_path}/football.db')
    record_restore(engine, heads, restored)
    seal(engine, heads, 'SIM-a', 1)
    verification = verify_ledger(engine, heads)
    assert verification.problems == []
    assert 'ledger-heads.1.jsonl holds heads of an earlier log' in '\n'.join(verification.notes)
    told = verify_ledger(engine, heads, kept_heads={'my head': kept}).problems
    assert len(told) == 1
    assert 'is of another ledger' in told[0]
    engine.dispose()
