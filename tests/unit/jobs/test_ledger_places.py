"""The ledger and the places outside: publication, completed receipts, comparison; and verification of what is new.

Repositories and calendars are real ones on this machine."""

import json
import shutil
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from football_pred.cli import cli
from football_pred.core.database import open_database
from football_pred.core.ledger_log import read_anchor_records, read_head
from football_pred.core.settings import Settings
from football_pred.forecasts.ledger_verification import LedgerVerification, verify_ledger
from football_pred.jobs.head_publication import compare_places, publish_last_head
from football_pred.jobs.ledger_checking import mark_path, read_mark, verify_new_entries
from tests.support.anchors import run_calendar
from tests.support.ledgers import (
    PREDICTED,
    append,
    forge,
    guard,
    heads_of,
    insert,
    intrude,
    open_ledger,
    stored,
    unguard,
)
from tests.support.services import free_port


@pytest.fixture
def home(tmp_path) -> Path:
    "A home with nine live forecasts of one model."
    folder = tmp_path / 'home'
    engine = open_ledger(folder)
    append(folder, engine, PREDICTED)
    engine.dispose()
    return folder


@pytest.fixture
def remote(tmp_path) -> Path:
    "Bare repository."
    path = tmp_path / 'remote.git'
    subprocess.run(['git', 'init', '--quiet', '--bare', '-b', 'main', path], check=True)
    return path


def call(home: Path, *arguments: object, **settings: object) -> Result:
    "Run a command on a home with settings of places."
    names = {f'FOOTBALL_{name.upper()}': str(value) for name, value in settings.items()}
    environment = names | {'FOOTBALL_HOME': str(home)}
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], env=environment)


def database(home: Path) -> Engine:
    return open_database(Settings(home=home).database_dsn)


def publish(home: Path, **settings: object):
    "Publish the last head as a job does."
    engine = database(home)
    values = Settings(home=home, **{name: str(value) for name, value in settings.items()})
    try:
        return publish_last_head(values, engine, datetime.now(UTC))
    finally:
        engine.dispose()


def anchors(home: Path) -> list[dict]:
    engine = database(home)
    with engine.connect() as connection:
        records = read_anchor_records(connection)
    engine.dispose()
    return records


# --- publication


def test_head_goes_to_the_places_that_lack_it(home, remote):
    closed = f'http://127.0.0.1:{free_port()}'
    places = {'anchor_git_url': remote, 'anchor_opentimestamps_urls': closed}
    result = call(home, 'ledger', 'publish', **places)
    assert result.exit_code == 1, result.output
    assert '✓ git has it since 20' in result.output
    assert f'✗ opentimestamps: {closed}/digest did not answer' in result.output
    with run_calendar() as calendar:
        places['anchor_opentimestamps_urls'] = calendar.url
        result = call(home, 'ledger', 'publish', **places)
        assert result.exit_code == 0, result.output
        assert result.output.count('✓ ') == 2
        assert call(home, 'ledger', 'publish', **places).output == result.output
        assert len(calendar.commitments) == 1
    assert [record['place'] for record in anchors(home)] == ['git', 'opentimestamps']
    lines = subprocess.run(
        ['git', 'log', '--oneline', 'main'], cwd=remote, capture_output=True, text=True, check=True
    )
    assert len(lines.stdout.splitlines()) == 1


def test_nothing_configured_says_what_that_is_worth(home):
    result = call(home, 'ledger', 'publish')
    assert result.exit_code == 0, result.output
    assert 'No place outside is configured: whoever can write' in result.output
    assert anchors(home) == []


def test_what_is_not_there_is_not_published(tmp_path):
    result = call(tmp_path / 'misspelt', 'ledger', 'publish', anchor_git_url=tmp_path / 'x.git')
    assert (result.exit_code, 'there is no ledger at' in result.output) == (2, True)
    assert list(tmp_path.iterdir()) == []
    result = call(tmp_path / 'misspelt', 'ledger', 'publish', anchor_git_url='ext::sh')
    assert result.exit_code == 2


def test_wrong_setting_of_a_place_is_named(home):
    for command in ('publish', 'verify'):
        result = call(home, 'ledger', command, anchor_git_url='ext::sh')
        assert (result.exit_code, 'not an address of a git repository' in result.output) == (
            2,
            True,
        )


# --- receipts that are completed later


def test_pending_receipts_are_completed_and_none_is_written_over(home):
    with run_calendar() as calendar:
        places = {'anchor_opentimestamps_urls': calendar.url}
        publish(home, **places)
        append_new(home)
        publication = publish(home, **places)
        assert (publication.upgraded, publication.failures) == ([], [])
        before = anchors(home)
        assert [record['receipt']['pending'] for record in before] == [True, True]
        calendar.is_mined = True
        publication = publish(home, **places)
        assert publication.failures == []
        assert 'opentimestamps: 2 receipts completed' in publication.messages
        assert publish(home, **places).upgraded == []
        after = anchors(home)
        assert [record for record in after if record in before] == before
        complete = [record for record in after if record['place'] == 'opentimestamps/block']
        assert [len(record['receipt']['blocks']) for record in complete] == [1, 1]
        engine = database(home)
        compared = compare_places(Settings(home=home, **places), engine)
        assert (compared.problems, compared.notes) == ([], [])
        assert verify_ledger(engine, heads_of(home)).problems == []
        engine.dispose()


def test_calendar_that_is_down_stops_no_job_and_is_reported(home, remote):
    with run_calendar() as calendar:
        places = {'anchor_opentimestamps_urls': calendar.url, 'anchor_git_url': remote}
        publish(home, **places)
        append_new(home)
        publish(home, **places)
    append_new(home)
    publication = publish(home, **places)
    assert [record.place for record in publication.records] == ['git']
    failed, pending = publication.failures
    assert failed.startswith(f'opentimestamps: {calendar.url}/digest did not answer')
    assert pending.startswith(f'opentimestamps: receipt not completed: {calendar.url}/timestamp/')
    assert pending.endswith('; and 1 more')


def test_proof_of_a_calendar_that_is_of_another_head_is_not_stored(home):
    with run_calendar() as calendar:
        places = {'anchor_opentimestamps_urls': calendar.url}
        publish(home, **places)
        [record] = anchors(home)
        append_new(home)
        publish(home, **places)
        with closing(intrude(home)) as connection:  # the proof of the second under the first
            unguard(connection)
            connection.execute(
                'UPDATE ledger_anchors SET receipt = (SELECT receipt FROM ledger_anchors WHERE '
                f'size > {record["size"]}) WHERE size = {record["size"]}'
            )
            guard(connection)
        calendar.is_mined = True
        publication = publish(home, **places)
    assert [text.split(': ')[2] for text in publication.failures] == [
        f'the proof is not of the head of {record["size"]} entries'
    ]
    assert [item.size > record['size'] for item in publication.upgraded] == [True]


# --- verification with the places


def append_new(home: Path) -> None:
    "Seal forecasts of another version."
    engine = database(home)
    versions = len(heads_of(home).path.read_bytes().splitlines())
    append(home, engine, PREDICTED, model_version=str(versions + 1))
    engine.dispose()


def test_agreeing_places_are_heads_from_elsewhere(home, remote):
    publish(home, anchor_git_url=remote)
    result = call(home, 'ledger', 'verify', anchor_git_url=remote)
    assert result.exit_code == 0, result.output
    assert 'the head published at git: entries 1 to 10, 20' in result.output
    assert 'No head from elsewhere' not in result.output
    assert 'Compare what stands there' not in result.output
    result = call(home, 'ledger', 'verify')
    assert 'Published at git: the head of 10 entries. Compare what stands there.' in result.output


def test_ledger_that_was_rewritten_contradicts_the_place(home, remote):
    publish(home, anchor_git_url=remote)
    forge(home, lambda run: run.exec_driver_sql('UPDATE predictions SET away_rate = 9.5'))
    with closing(intrude(home)) as connection:
        unguard(connection)
        connection.execute('DELETE FROM ledger_anchors')
        guard(connection)
    shutil.rmtree(home / 'ledger-git')
    assert call(home, 'ledger', 'verify').exit_code == 0  # the files agree with one another
    result = call(home, 'ledger', 'verify', anchor_git_url=remote)
    assert result.exit_code == 1, result.output
    assert '✗ the log was rewritten: the head published at git of 20' in result.output


def test_place_that_cannot_be_reached_is_a_note_by_name(home, remote):
    publish(home, anchor_git_url=remote)
    shutil.move(remote, remote.with_name('away.git'))
    closed = f'http://127.0.0.1:{free_port()}'
    places = {'anchor_s3_url': 's3://heads', 'anchor_s3_endpoint': closed, 'anchor_s3_mode': 'none'}
    result = call(home, 'ledger', 'verify', anchor_git_url=remote, anchor_seconds=10, **places)
    assert result.exit_code == 0, result.output
    assert f'note: git: {remote} cannot be fetched' in result.output
    assert 'note: s3: ' in result.output
    assert 'No head from elsewhere was compared' in result.output


@pytest.mark.parametrize('has_clone', [True, False])
def test_place_that_was_rewritten_is_a_problem(home, remote, has_clone):
    publish(home, anchor_git_url=remote)
    subprocess.run(['git', 'update-ref', '-d', 'refs/heads/main'], cwd=remote, check=True)
    if not has_clone:
        shutil.rmtree(home / 'ledger-git')
    result = call(home, 'ledger', 'verify', anchor_git_url=remote)
    assert result.exit_code == 1, result.output
    assert 'was rewritten: its branch main ' in result.output


def test_another_ledger_in_the_place_of_this_one_is_a_problem(home, remote, tmp_path):
    other = tmp_path / 'other'
    engine = open_ledger(other)
    append(other, engine, PREDICTED)
    engine.dispose()
    publish(other, anchor_git_url=remote)
    result = call(home, 'ledger', 'verify', anchor_git_url=remote)
    assert (result.exit_code, 'and none of this one' in result.output) == (1, True)
    publish(home, anchor_git_url=remote)  # both publish to one repository
    result = call(home, 'ledger', 'verify', anchor_git_url=remote)
    assert result.exit_code == 0, result.output
    assert 'note: git holds 1 heads of other ledgers' in result.output


def test_receipt_that_was_exchanged_is_a_problem(home):
    with run_calendar() as calendar:
        publish(home, anchor_opentimestamps_urls=calendar.url)
        append_new(home)
        publish(home, anchor_opentimestamps_urls=calendar.url)
    with closing(intrude(home)) as connection:
        unguard(connection)
        connection.execute(
            'UPDATE ledger_anchors SET receipt = (SELECT max(receipt) FROM ledger_anchors)'
        )
        guard(connection)
    result = call(home, 'ledger', 'verify', anchor_opentimestamps_urls=calendar.url)
    assert result.exit_code == 1, result.output
    assert '✗ opentimestamps: the proof is not of the head of 1' in result.output


def listing(home: Path) -> list[tuple[Path, int]]:
    "Files of a home and their times, but for those by which SQLite readers share a database."
    paths = [path for path in sorted(home.rglob('*')) if not path.name.startswith('football.db')]
    return [(path, path.stat().st_mtime_ns) for path in paths]


def test_verification_writes_nothing_into_the_home(home, remote):
    publish(home, anchor_git_url=remote)
    for remove_clone in (False, True):
        if remove_clone:
            shutil.rmtree(home / 'ledger-git')
        before = listing(home)
        assert call(home, 'ledger', 'verify', anchor_git_url=remote).exit_code == 0
        assert listing(home) == before


# --- what is new

MOVED = """UPDATE matches SET kickoff = strftime('%Y-%m-%d %H:%M:%S.000000', kickoff, '+1 day')
WHERE status = 'scheduled'"""


def verify_new(home: Path, hours: float = 0) -> LedgerVerification:
    "Verify as a job does, some hours from now."
    engine = database(home)
    at = datetime.now(UTC) + timedelta(hours=hours)
    try:
        return verify_new_entries(Settings(home=home), engine, at)
    finally:
        engine.dispose()


def edit(home: Path, entry: int) -> None:
    "Change the rate of the forecast of an entry past the guards."
    with closing(intrude(home)) as connection:
        subject = stored(connection, 'ledger_entries', f'entry = {entry}')['subject']
        unguard(connection)
        connection.execute(
            'UPDATE predictions SET away_rate = 9.5 WHERE prediction_id = ?', [subject]
        )
        guard(connection)


def test_new_entries_alone_are_verified(home):
    assert verify_new(home).since == 0
    append_new(home)
    verification = verify_new(home)
    assert (verification.since, verification.entries, verification.problems) == (10, 19, [])
    verification = verify_new(home)
    assert (verification.since, verification.entries) == (19, 19)


def test_edit_of_a_new_row_is_found_at_once(home):
    verify_new(home)
    append_new(home)
    edit(home, 15)
    verification = verify_new(home)
    assert verification.since == 10
    assert any('entry 15 ' in problem for problem in verification.problems)
    assert verify_new(home).problems == verification.problems  # and again


def test_edit_of_an_old_row_is_found_by_the_full_verification(home):
    verify_new(home)
    append_new(home)
    verify_new(home)
    edit(home, 5)
    assert verify_new(home, hours=23).problems == []
    for hours in (24, 24.1):
        verification = verify_new(home, hours)
        assert verification.since == 0
        assert any('entry 5 ' in problem for problem in verification.problems)
    assert call(home, 'ledger', 'verify').exit_code == 1
    assert call(home, 'ledger', 'verify', '--since', 19).exit_code == 0


def test_log_that_was_rewritten_below_the_mark_is_found_at_once(home):
    verify_new(home)
    append_new(home)
    forge(home, lambda run: run.exec_driver_sql('UPDATE predictions SET away_rate = 9.5'))
    problems = verify_new(home).problems
    assert any('rewritten: ledger-verified.json of 20' in problem for problem in problems)


@pytest.mark.parametrize('hours', [-30, 30])
def test_mark_that_was_moved_hides_nothing_from_the_full_verification(home, hours):
    verify_new(home)
    append_new(home)
    edit(home, 15)
    engine = database(home)
    with engine.connect() as connection:
        head = read_head(connection)
    engine.dispose()
    mark = {'head': head, 'complete_at': (datetime.now(UTC) + timedelta(hours=hours)).isoformat()}
    mark_path(Settings(home=home)).write_text(json.dumps(mark))
    assert any('entry 15 ' in problem for problem in verify_new(home).problems)
    mark['complete_at'] = datetime.now(UTC).isoformat()
    mark_path(Settings(home=home)).write_text(json.dumps(mark))
    assert verify_new(home).problems == []  # this is what a mark can hide, for a day
    assert call(home, 'ledger', 'verify').exit_code == 1


@pytest.mark.parametrize('content', [b'', b'[1]', b'{"head": 5}', b'{"head":{"size":1', b'\xff'])
def test_mark_that_cannot_be_read_is_not_used(home, content):
    verify_new(home)
    path = mark_path(Settings(home=home))
    path.write_bytes(content)
    verification = verify_new(home)
    assert (verification.since, verification.problems) == (0, [])
    assert read_mark(path).head['size'] == 10


def test_mark_of_another_ledger_is_not_used(home, tmp_path):
    other = tmp_path / 'other'
    engine = open_ledger(other)
    append(other, engine, PREDICTED)
    engine.dispose()
    verify_new(other)
    shutil.copy(mark_path(Settings(home=other)), mark_path(Settings(home=home)))
    assert (verify_new(home).since, verify_new(home).problems) == (0, [])


@pytest.mark.parametrize(
    ('statement', 'sentence'),
    [
        ('DROP TRIGGER predictions_UPDATE', 'predictions_UPDATE'),
        (MOVED, 'was sealed for a kick-off'),
        ('DELETE FROM ledger_anchors', None),
    ],
)
def test_what_changes_outside_the_log_is_compared_every_time(home, statement, sentence):
    verify_new(home)
    with closing(intrude(home)) as connection:
        if sentence is None:
            head = read_mark(mark_path(Settings(home=home))).head
            row = {'size': head['size'], 'root': 'ab' * 32, 'place': 'git', 'receipt': '{}'}
            insert(connection, 'ledger_anchors', row | {'at': '2026-11-30 00:00:00.000000'})
            sentence = 'the receipt of git for 10 entries is of another head'
        else:
            connection.execute(statement)
    verification = verify_new(home)
    assert verification.since == 10
    assert any(sentence in problem for problem in verification.problems)
