"Backups of both databases, into a folder and an object store, and the way back into an empty database."

import json
import os
import shutil
import subprocess
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine
from upath import UPath

from football_pred.core.as_of import read_matches
from football_pred.core.backup import (
    BackupError,
    check_backup,
    create_backup,
    list_backups,
    prune_backups,
    restore_database,
    table_digests,
)
from football_pred.core.database import count_rows, write_transaction
from football_pred.core.outbox import emit_event
from football_pred.forecasts.ledger import append_forecasts, settle_forecasts
from football_pred.forecasts.ledger_verification import verify_ledger
from football_pred.forecasts.predict import forecast_fixtures, upcoming_fixtures
from football_pred.models.base_rate import BaseRate
from tests.platform.test_production_stores import AT, LATER, bucket, gather
from tests.support.server import COMMAND
from tests.support.services import new_database, postgresql_tools

TOOLS = postgresql_tools()
assert bucket


def filled(engine, home):
    "A database with seasons, sealed forecasts and their scores."
    gather(engine, home / 'snapshots')
    known = read_matches(engine, AT)
    forecasts = forecast_fixtures(
        BaseRate().fit(known.filter(status='finished'), as_of=AT), upcoming_fixtures(known, AT, 30)
    )
    append_forecasts(
        engine, home / 'anchors', forecasts, 'base', '1', AT, AT, 'data', 'features', 'run'
    )
    settle_forecasts(engine, read_matches(engine, LATER), LATER, 'run')


def digests(engine):
    with engine.connect() as connection:
        return table_digests(connection)


@pytest.fixture
def empty(postgresql_server):
    "URL of a PostgreSQL database without a table."
    with new_database(postgresql_server) as url:
        yield url


@pytest.mark.parametrize('where', ['folder', 'bucket'])
def test_postgresql_comes_back_row_for_row_with_its_guards(postgresql, empty, home, where, request):
    folder = home / 'backups' if where == 'folder' else UPath('s3://football/backups')
    if where == 'bucket':
        request.getfixturevalue('bucket')
    filled(postgresql, home)
    manifest = create_backup(
        postgresql, folder, LATER, {'anchors': home / 'anchors'}, tools_folder=TOOLS
    )
    before = digests(postgresql)
    assert manifest['databases']['football']['tables'] == before
    assert (before['matches']['rows'], before['predictions']['rows']) == (
        1140,
        count_rows(postgresql)['settlements'],
    )
    back = restore_database(folder, 'latest', empty, tools_folder=TOOLS)
    assert back.tables == before
    other = create_engine(empty)
    assert verify_ledger(other, home / 'anchors').problems == []
    with pytest.raises(Exception, match='append-only'), write_transaction(other) as connection:
        connection.exec_driver_sql('DELETE FROM predictions')
    with write_transaction(other) as connection:
        assert emit_event(
            connection, 'models', 'E0', {'version': 'after'}, LATER
        )  # its sequences go on behind the rows
    other.dispose()
    with pytest.raises(BackupError, match='a backup goes into an empty database'):
        restore_database(folder, 'latest', empty, tools_folder=TOOLS)


def test_rows_written_during_the_copy_are_in_neither_dump_nor_manifest(postgresql, empty, home):
    gather(postgresql, home / 'snapshots')
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            with write_transaction(postgresql) as connection:
                emit_event(connection, 'models', 'E0', {'version': str(number)}, AT)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        manifest = create_backup(postgresql, home / 'backups', LATER, {}, tools_folder=TOOLS)
    finally:
        done.set()
        writer.join()
    assert (
        manifest['databases']['football']['tables']['events']['rows']
        < count_rows(postgresql)['events']
    )
    assert (
        restore_database(home / 'backups', 'latest', empty, tools_folder=TOOLS).tables
        == manifest['databases']['football']['tables']
    )


@pytest.mark.parametrize('harm', ['a byte', 'a file', 'the manifest'])
def test_a_backup_that_is_not_whole_is_refused_and_nothing_is_written(sqlite, engine, home, harm):
    filled(engine, home)
    name = create_backup(engine, home / 'backups', LATER, {})['name']
    copy = home / 'backups' / name / 'football.db'
    if harm == 'a byte':
        content = bytearray(copy.read_bytes())
        content[5000] ^= 1
        copy.write_bytes(content)
    elif harm == 'a file':
        copy.unlink()
    else:
        (home / 'backups' / name / 'manifest.json').unlink()
    said = {'a byte': 'has changed', 'a file': 'is missing', 'the manifest': 'there is no backup'}[
        harm
    ]
    with pytest.raises(BackupError, match=said):
        restore_database(home / 'backups', 'latest', f"sqlite:///{home / 'back.db'}")
    assert not (home / 'back.db').exists()
    if harm != 'the manifest':
        with pytest.raises(BackupError, match=said):
            check_backup(home / 'backups', list_backups(home / 'backups')[0])


def test_a_dump_that_fails_leaves_no_backup(postgresql, home):
    with pytest.raises(BackupError, match='pg_dump is not installed'):
        create_backup(postgresql, home / 'backups', LATER, {}, tools_folder=home)
    (tools := home / 'tools').mkdir()
    (tools / 'pg_dump').write_text('#!/bin/sh\necho "disk full" >&2\nexit 1\n')
    (tools / 'pg_dump').chmod(0o755)
    with pytest.raises(BackupError, match='pg_dump failed: disk full'):
        create_backup(postgresql, home / 'backups', LATER, {}, tools_folder=tools)
    assert list_backups(home / 'backups') == []


def test_old_backups_go_from_an_object_store_too(engine, bucket):
    folder = UPath('s3://football/old')
    for day in (1, 2, 3):
        create_backup(engine, folder, datetime(2026, 5, day, tzinfo=UTC), {})
    assert prune_backups(folder, keep_daily=2, keep_weekly=0, keep_monthly=0, keep_last=1) == [
        '20260501T000000Z'
    ]
    assert [one['name'] for one in list_backups(folder)] == ['20260502T000000Z', '20260503T000000Z']
    assert not any('20260501' in str(path) for path in folder.rglob('*'))


def test_a_whole_home_is_copied_by_the_job_and_comes_back_by_the_command(
    sqlite, served_home, home, tmp_path
):
    shutil.copytree(served_home, home, dirs_exist_ok=True)

    def call(where, *arguments):
        environment = os.environ | {
            'FOOTBALL_HOME': str(where),
            'FOOTBALL_BACKUPS_URL': str(tmp_path / 'backups'),
        }
        return subprocess.run(
            [COMMAND, *arguments], env=environment, capture_output=True, text=True
        )

    for _ in range(2):
        assert call(home, 'run', 'backup').returncode == 0
    [name, other] = [one['name'] for one in list_backups(tmp_path / 'backups')]
    listed = call(home, 'backups', 'list').stdout
    assert (name in listed, other in listed) == (True, True)
    assert call(home, 'backups', 'check').returncode == 0
    refused = call(home, 'backups', 'restore')
    assert (refused.returncode, 'a backup goes where no database is' in refused.stderr) == (
        2,
        True,
    ), refused
    back = call(tmp_path / 'new', 'backups', 'restore', name)
    assert (back.returncode, 'untouched' in back.stdout) == (0, True), back
    asked = ('predict', 'Arsenal', 'Man City', '--league', 'E0')
    assert call(tmp_path / 'new', *asked).stdout == call(home, *asked).stdout != ''
    said = json.loads((tmp_path / 'backups' / name / 'manifest.json').read_text())
    assert any(file.startswith('models/') for file in said['files'])
    (tmp_path / 'backups' / name / 'football.db').write_bytes(b'')
    broken = call(home, 'backups', 'check')
    assert (broken.returncode, f'✗ {name}' in broken.stdout, f'✓ {other}' in broken.stdout) == (
        1,
        True,
        True,
    )
