"The commands `ledger`, and that commands which only look create nothing."

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, select

from football_pred.cli import cli
from football_pred.core import schema
from football_pred.core.database import open_database
from football_pred.core.head_signing import create_signing_key, public_key_hex
from football_pred.core.ledger_checks import check_receipt
from football_pred.core.ledger_log import HeadFile, read_heads
from football_pred.core.settings import Settings
from football_pred.forecasts.sample_ledger import fill_sample_ledger
from tests.support.server import serving


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def as_process(home: Path, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-c', 'from football_pred.cli import main; main()', *map(str, arguments)],
        text=True,
        capture_output=True,
        env=os.environ | {'FOOTBALL_HOME': str(home)},
    )


@pytest.fixture(params=['sqlite', 'postgresql'])
def ledger(request, home, monkeypatch) -> Iterator[Engine]:
    "A home with a small ledger whose heads are not signed; the settings point at it."
    monkeypatch.setenv('FOOTBALL_HOME', str(home))
    if request.param == 'sqlite':
        engine = open_database(f'sqlite:///{home}/football.db')
    else:
        engine = request.getfixturevalue('postgresql')
        url = engine.url.render_as_string(hide_password=False)
        monkeypatch.setenv('FOOTBALL_DATABASE_URL', url)
    settings = Settings()
    heads = HeadFile(settings.ledger_heads_path, settings.ledger_key_path)
    fill_sample_ledger(engine, heads, datetime.now(UTC))
    yield engine
    engine.dispose()


def heads_of(engine: Engine) -> list[dict]:
    with engine.connect() as connection:
        return read_heads(connection)


# ---- nothing is created

LOOKS = [
    ('ledger', 'verify'),
    ('ledger', 'head'),
    ('ledger', 'receipt', 'f' * 32),
    ('ledger', 'export', 'out'),
]


@pytest.mark.parametrize('arguments', LOOKS, ids=lambda arguments: arguments[1])
def test_a_missing_ledger_is_not_created(tmp_path, arguments):
    home = tmp_path / 'misspelt'
    result = as_process(home, *arguments)
    assert result.returncode == 2
    assert f'there is no ledger at {home}/football.db' in result.stderr
    assert 'Traceback' not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_home_and_one_without_forecasts_have_no_ledger(home):
    result = as_process(home, 'ledger', 'verify')
    assert (result.returncode, 'there is no ledger at' in result.stderr) == (2, True)
    assert list(home.iterdir()) == []
    open_database(f'sqlite:///{home}/football.db').dispose()
    result = as_process(home, 'ledger', 'verify')
    assert (result.returncode, 'no forecast is sealed yet' in result.stderr) == (2, True)
    (home / 'ledger-heads.jsonl').write_text('{}\n')
    assert 'has heads of one: it was removed' in as_process(home, 'ledger', 'verify').stderr


@pytest.mark.parametrize('command', ['status', 'runs', 'names', 'models'])
def test_a_command_that_looks_creates_no_home(tmp_path, command):
    result = as_process(tmp_path / 'home', command)
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_prediction_creates_no_home(tmp_path):
    result = as_process(tmp_path / 'home', 'predict', 'Arsenal', 'Everton', '--league', 'E0')
    assert (result.returncode, "unknown league 'E0'" in result.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(home):
    (home / 'football.db').write_text('Dear football, ' * 100)
    result = as_process(home, 'ledger', 'verify')
    assert (result.returncode, 'file is not a database' in result.stderr) == (2, True)


# ---- verify


def test_an_intact_ledger_and_what_that_is_worth(ledger):
    result = call('ledger', 'verify')
    assert result.exit_code == 0, result.output
    assert 'intact, head ' + heads_of(ledger)[-1]['root'][:16] in result.output
    assert '31 entries: 8 live forecasts, 8 replays, 14 settlements' in result.output
    assert 'Heads are not signed' in result.output
    assert 'No head from elsewhere was compared (--head, or' in result.output


@pytest.mark.parametrize('how', ['head', 'lines', 'receipt', 'root', 'seal'])
def test_a_head_that_was_kept_elsewhere_matches(ledger, tmp_path, how):
    path = tmp_path / 'kept'
    heads = heads_of(ledger)
    columns = schema.predictions.c
    with ledger.connect() as connection:
        row = connection.execute(select(columns.seal, columns.prediction_id).limit(1)).one()
    source = {'root': heads[0]['root'].upper(), 'seal': row.seal}.get(how, path)
    if how == 'head':
        assert (
            call('ledger', 'head').output
            == json.dumps(heads[-1], sort_keys=True, separators=(',', ':')) + '\n'
        )
        path.write_text(call('ledger', 'head').output)
    elif how == 'lines':
        path.write_text(''.join(f'{json.dumps(head)}\n' for head in heads))
    elif how == 'receipt':
        call('ledger', 'receipt', row.prediction_id, '-o', path)
    result = call('ledger', 'verify', '--head', source)
    assert result.exit_code == 0, result.output
    assert 'No head from elsewhere' not in result.output


@pytest.mark.parametrize('how', ['other root', 'larger', 'hex'])
def test_a_head_that_does_not_match_is_a_problem(ledger, tmp_path, how):
    head = heads_of(ledger)[-1]
    changes = {'other root': {'root': 'ab' * 32}, 'larger': {'size': 99}, 'hex': {}}[how]
    (tmp_path / 'kept').write_text(json.dumps(head | changes))
    source = 'ab' * 32 if how == 'hex' else tmp_path / 'kept'
    result = call('ledger', 'verify', '--head', source)
    assert result.exit_code == 1, result.output
    assert result.output.startswith('✗ ')


def test_the_head_of_another_ledger_is_a_problem(ledger, tmp_path):
    other = open_database(f'sqlite:///{tmp_path}/other.db')
    fill_sample_ledger(other, HeadFile(tmp_path / 'other-heads.jsonl'), datetime.now(UTC))
    other.dispose()
    result = call('ledger', 'verify', '--head', tmp_path / 'other-heads.jsonl')
    assert (result.exit_code, 'of another ledger' in result.output) == (1, True)


def test_a_head_is_read_from_the_api(home, ledger, monkeypatch):
    with serving(home) as address:
        result = call('ledger', 'verify', '--head', f'{address}/api/v1/ledger/head')
        assert result.exit_code == 0, result.output
        result = call('ledger', 'verify', '--head', f'{address}/api/v1/nothing')
    assert (result.exit_code, 'cannot read http' in result.output) == (2, True)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--head', 'missing.json'), 'cannot read missing.json'),
        (('--head', '/dev/null'), '/dev/null is empty'),
        (('--head', __file__), 'holds no head'),
        (('--key', 'ab'), 'cannot read ab'),
        (('--key', __file__), 'is no public key'),
        (('--since', '5'), 'the ledger has no head of 5 entries'),
        (('--since', '17', '--head', 'ab' * 32), '--since skips entries'),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(ledger, arguments, message):
    result = call('ledger', 'verify', *arguments)
    assert (result.exit_code, message in result.output) == (2, True), result.output


def test_new_entries_alone_are_verified(ledger):
    result = call('ledger', 'verify', '--since', 17)
    assert result.exit_code == 0, result.output
    assert 'after entry 17, of 31 entries' in result.output


def test_an_edited_score_is_listed(home, ledger):
    with ledger.begin() as connection:
        if ledger.dialect.name == 'sqlite':
            connection.exec_driver_sql('DROP TRIGGER settlements_UPDATE')
        else:
            connection.exec_driver_sql('DROP TRIGGER settlements_change ON settlements')
        connection.execute(schema.settlements.update().values(rps=0.0))
        schema.renew_guards(connection)
    result = call('ledger', 'verify')
    assert (result.exit_code, 'problems' in result.output) == (1, True)
    assert '✗ entry 18 ' in result.output


# ---- key, receipt, export


def test_a_key_is_made_once_and_signs_from_then_on(home, monkeypatch):
    monkeypatch.setenv('FOOTBALL_HOME', str(home))
    result = call('ledger', 'key')
    assert result.exit_code == 0, result.output
    public_key = (home / 'ledger-key.pub').read_text().strip()
    assert f'public key: {public_key}' in result.output
    assert 'Publish the public key' in result.output
    assert 'PRIVATE KEY' not in result.output
    assert (home / 'ledger-key.pem').stat().st_mode & 0o777 == 0o600
    again = call('ledger', 'key')
    assert (again.exit_code, 'a key is never overwritten' in again.output) == (1, True)
    engine = open_database(f'sqlite:///{home}/football.db')
    heads = HeadFile(home / 'ledger-heads.jsonl', home / 'ledger-key.pem')
    fill_sample_ledger(engine, heads, datetime.now(UTC))
    engine.dispose()
    for key in (public_key, home / 'ledger-key.pub'):
        result = call('ledger', 'verify', '--key', key)
        assert result.exit_code == 0, result.output
        assert f'signed ({public_key})' in result.output
    other = public_key_hex(create_signing_key(home / 'other.pem'))
    result = call('ledger', 'verify', '--key', other)
    assert result.exit_code == 1, result.output
    assert f'is signed by the key {public_key}, which is none of those' in result.output


def test_a_receipt_is_printed_and_written(ledger, tmp_path):
    columns = schema.predictions.c
    with ledger.connect() as connection:
        prediction_id = connection.execute(select(columns.prediction_id).limit(1)).scalar_one()
    printed = call('ledger', 'receipt', prediction_id).stdout
    assert call('ledger', 'receipt', prediction_id, '-o', tmp_path / 'r.json').stdout == ''
    assert (tmp_path / 'r.json').read_text() == printed
    assert check_receipt(json.loads(printed)).problems == []
    result = call('ledger', 'receipt', 'unknown')
    assert (result.exit_code, "no forecast 'unknown'" in result.output) == (2, True)


def test_an_export_is_checked_as_it_says(ledger, tmp_path):
    result = call('ledger', 'export', tmp_path / 'export', '--format', 'parquet')
    assert result.exit_code == 0, result.output
    assert '31 entries, 3 heads, 1 payloads, 0 anchors' in result.output
    command = result.output.splitlines()[-1].removeprefix('check it: ')
    checked = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert (tmp_path / 'export' / 'forecasts.parquet').exists()
    again = call('ledger', 'export', tmp_path / 'export')
    assert (again.exit_code, 'holds files' in again.output) == (2, True)
