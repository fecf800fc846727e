"Backups of both databases, in a folder and an object store, and their restore."

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
from football_pred.core.ledger_log import HeadFile
from football_pred.core.outbox import emit_event
from football_pred.forecasts.ledger import append_forecasts, settle_forecasts
from football_pred.forecasts.ledger_verification import verify_ledger
from football_pred.forecasts.predict import forecast_fixtures, upcoming_fixtures
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.load import load_new_payloads
from football_pred.ingest.open_sources import BundledSource
from football_pred.ingest.sources import SOURCES, create_source
from football_pred.models.base_rate import BaseRate
from tests.support.services import new_database, postgresql_tools
from tests.support.warm import warm_command

TOOLS = postgresql_tools()
AT = datetime(2026, 4, 1, tzinfo=UTC)
LATER = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def bucket(object_store, monkeypatch):
    "Create the bucket `football` of an object store."
    import boto3

    variables = {
        'AWS_ACCESS_KEY_ID': 'key',
        'AWS_SECRET_ACCESS_KEY': 'secret',
        'AWS_ENDPOINT_URL': object_store,
        'AWS_DEFAULT_REGION': 'us-east-1',
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    boto3.client('s3').create_bucket(Bucket='football')


def load_bundled(engine, folder):
    "Load three bundled seasons."
    collect_payloads(
        engine, folder, BundledSource(), ['E0'], ('2324', '2425', '2526'), lambda: LATER
    )
    load_new_payloads(engine, folder, {name: create_source(name) for name in SOURCES})


def fill(engine, home):
    "Write seasons, sealed forecasts and their scores to a database."
    load_bundled(engine, home / 'snapshots')
    matches = read_matches(engine, AT)
    model = BaseRate().fit(matches.filter(status='finished'), as_of=AT)
    forecasts = forecast_fixtures(model, upcoming_fixtures(matches, AT, 30))
    heads = HeadFile(home / 'ledger-heads.jsonl')
    append_forecasts(engine, heads, forecasts, 'base', '1', AT, 'data', 'features', 'run')
    settle_forecasts(engine, heads, read_matches(engine, LATER), LATER, 'run')


def digests(engine):
    with engine.connect() as connection:
        return table_digests(connection)


@pytest.fixture
def empty(postgresql_server):
    "URL of a PostgreSQL database without a table."
    with new_database(postgresql_server) as url:
        yield url


@pytest.mark.parametrize('where', ['folder', 'bucket'])
def test_postgresql_is_restored_row_for_row_with_its_triggers(
    postgresql, empty, home, where, request
):
    folder = home / 'backups' if where == 'folder' else UPath('s3://football/backups')
    if where == 'bucket':
        request.getfixturevalue('bucket')
    fill(postgresql, home)
    manifest = create_backup(
        postgresql, folder, LATER, {'heads': home / 'ledger-heads.jsonl'}, tools_folder=TOOLS
    )
    before = digests(postgresql)
    assert manifest['databases']['football']['tables'] == before
    assert (before['matches']['rows'], before['predictions']['rows']) == (
        1140,
        count_rows(postgresql)['settlements'],
    )
    assert restore_database(folder, 'latest', empty, tools_folder=TOOLS).tables == before
    restored = create_engine(empty)
    assert verify_ledger(restored, HeadFile(home / 'ledger-heads.jsonl')).problems == []
    with pytest.raises(Exception, match='append-only'), write_transaction(restored) as connection:
        connection.exec_driver_sql('DELETE FROM predictions')
    with write_transaction(restored) as connection:  # sequences continue after the last row
        assert emit_event(connection, 'models', 'E0', {'version': 'after'}, LATER)
    restored.dispose()
    with pytest.raises(BackupError, match='restore into an empty database'):
        restore_database(folder, 'latest', empty, tools_folder=TOOLS)


def test_rows_written_during_the_copy_are_in_neither_dump_nor_manifest(postgresql, empty, home):
    load_bundled(postgresql, home / 'snapshots')
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
def test_a_damaged_backup_is_refused_and_nothing_is_written(sqlite, engine, home, harm):
    fill(engine, home)
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
    messages = {'a byte': 'has changed', 'a file': 'is missing', 'the manifest': 'no backup in'}
    message = messages[harm]
    with pytest.raises(BackupError, match=message):
        restore_database(home / 'backups', 'latest', f"sqlite:///{home / 'back.db'}")
    assert not (home / 'back.db').exists()
    if harm != 'the manifest':
        with pytest.raises(BackupError, match=message):
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


def test_old_backups_are_deleted_from_an_object_store(engine, bucket):
    folder = UPath('s3://football/old')
    for day in (1, 2, 3):
        create_backup(engine, folder, datetime(2026, 5, day, tzinfo=UTC), {})
    assert prune_backups(folder, keep_daily=2, keep_weekly=0, keep_monthly=0, keep_last=1) == [
        '20260501T000000Z'
    ]
    assert [manifest['name'] for manifest in list_backups(folder)] == [
        '20260502T000000Z',
        '20260503T000000Z',
    ]
    assert not any('20260501' in str(path) for path in folder.rglob('*'))


def test_a_home_is_backed_up_by_the_job_and_restored_by_the_command(
    sqlite, served_home, home, tmp_path
):
    shutil.copytree(served_home, home, dirs_exist_ok=True)

    def call(where, *arguments):
        environment = os.environ | {
            'FOOTBALL_HOME': str(where),
            'FOOTBALL_BACKUPS_URL': str(tmp_path / 'backups'),
        }
        return subprocess.run(
            [*warm_command(), *arguments], env=environment, capture_output=True, text=True
        )

    for _ in range(2):
        assert call(home, 'run', 'backup').returncode == 0
    [name, other] = [manifest['name'] for manifest in list_backups(tmp_path / 'backups')]
    listed = call(home, 'backups', 'list').stdout
    assert (name in listed, other in listed) == (True, True)
    assert call(home, 'backups', 'check').returncode == 0
    refused = call(home, 'backups', 'restore')
    assert (refused.returncode, 'restore into a file that does not exist' in refused.stderr) == (
        2,
        True,
    ), refused
    restored = call(tmp_path / 'new', 'backups', 'restore', name)
    assert (restored.returncode, 'intact' in restored.stdout) == (0, True), restored
    predict = ('predict', 'Arsenal', 'Man City', '--league', 'E0')
    assert call(tmp_path / 'new', *predict).stdout == call(home, *predict).stdout != ''
    manifest = json.loads((tmp_path / 'backups' / name / 'manifest.json').read_text())
    assert any(file.startswith('models/') for file in manifest['files'])
    (tmp_path / 'backups' / name / 'football.db').write_bytes(b'')
    broken = call(home, 'backups', 'check')
    assert (broken.returncode, f'✗ {name}' in broken.stdout, f'✓ {other}' in broken.stdout) == (
        1,
        True,
        True,
    )
