"What a stranger gets: an export that one file checks alone, and receipts, of SQLite and of PostgreSQL."

import ast
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from football_pred.core import schema
from football_pred.core.database import (
    DatabaseMissing,
    DatabaseUnreadable,
    MigrationRequired,
    open_database,
    open_engine,
    open_read_only,
    read_frame,
    write_transaction,
)
from football_pred.core.head_signing import create_signing_key, public_key_hex
from football_pred.core.ledger_checks import check_receipt
from football_pred.core.ledger_log import (
    HeadFile,
    NewEntry,
    read_head,
    read_heads,
    record_entry,
    store_anchors,
)
from football_pred.core.maintenance import READER_ROLE, create_roles
from football_pred.core.migrate import downgrade_schema
from football_pred.forecasts import ledger_export
from football_pred.forecasts.ledger_export import (
    export_ledger,
    forecast_receipt,
    verifier_source,
)
from football_pred.forecasts.queries import RecordNotFound
from football_pred.forecasts.sample_ledger import fill_sample_ledger

ROOT = Path(__file__).parents[3]
FILES = [
    'README.md',
    'anchors.jsonl',
    'entries.jsonl',
    'heads.jsonl',
    'payloads.jsonl',
    'verify_ledger.py',
]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(params=['sqlite', 'postgresql'])
def ledger(request, tmp_path) -> Iterator[Engine]:
    "A ledger of 8 replays, 8 live forecasts and 14 scores, whose heads are signed."
    create_signing_key(tmp_path / 'ledger-key.pem')
    if request.param == 'sqlite':
        engine = open_database(f'sqlite:///{tmp_path / "football.db"}')
    else:
        engine = request.getfixturevalue('postgresql')
    heads = HeadFile(tmp_path / 'ledger-heads.jsonl', tmp_path / 'ledger-key.pem')
    fill_sample_ledger(engine, heads, now())
    yield engine
    engine.dispose()


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    "The check of one file, alone: isolated, in an empty folder, without the library."
    alone = folder.parent / 'alone'
    alone.mkdir(exist_ok=True)
    shutil.copy(folder / 'verify_ledger.py', alone)
    return subprocess.run(
        [sys.executable, '-I', 'verify_ledger.py', *arguments],
        cwd=alone,
        env={},
        capture_output=True,
        text=True,
    )


def live_ids(engine: Engine) -> list[str]:
    columns = schema.predictions.c
    query = select(columns.prediction_id).where(columns.kind == 'live').order_by(columns.sequence)
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


# ---- the export


def test_an_export_is_checked_by_its_one_file(ledger, tmp_path):
    summary = export_ledger(ledger, tmp_path / 'export')
    folder = summary.folder
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert (summary.entries, summary.heads, summary.payloads, summary.anchors) == (31, 3, 1, 0)
    assert summary.size == sum(path.stat().st_size for path in folder.iterdir())
    with ledger.connect() as connection:
        head = read_head(connection)
    assert summary.root == head['root']
    checked = check(folder, str(folder), '--head', head['root'], '--key', head['key'])
    assert (checked.returncode, checked.stderr) == (0, ''), checked.stdout
    assert f'Root: {summary.root}' in checked.stdout
    assert '8 live forecasts' in checked.stdout
    assert '; signed, key' in checked.stdout
    assert checked.stdout.endswith('No problem found.\n')


def test_each_line_is_the_text_that_the_leaf_is_the_hash_of(ledger, tmp_path):
    folder = export_ledger(ledger, tmp_path / 'export').folder
    lines = (folder / 'entries.jsonl').read_bytes().split(b'\n')
    assert lines.pop() == b''
    query = select(schema.ledger_entries.c.leaf).order_by(schema.ledger_entries.c.entry)
    with ledger.connect() as connection:
        leaves = list(connection.execute(query).scalars())
    assert [hashlib.sha256(b'\0' + line).hexdigest() for line in lines] == leaves


def test_both_databases_export_the_same_shape(ledger, tmp_path):
    folder = export_ledger(ledger, tmp_path / 'export').folder
    payload = json.loads((folder / 'payloads.jsonl').read_text())
    assert set(payload) == {'sha256', 'source', 'url', 'fetched_at', 'bytes'}
    datetime.strptime(payload['fetched_at'], '%Y-%m-%dT%H:%M:%S.%f%z')
    with ledger.connect() as connection:
        heads = read_heads(connection)
    lines = (folder / 'heads.jsonl').read_text().splitlines()
    assert [json.loads(line) for line in lines] == heads


@pytest.mark.parametrize('name', ['entries.jsonl', 'heads.jsonl', 'payloads.jsonl'])
def test_a_changed_export_is_found(ledger, tmp_path, name):
    folder = export_ledger(ledger, tmp_path / 'export').folder
    path = folder / name
    text = path.read_text()
    digit = text[text.index('"p_home":0.') + 12] if name == 'entries.jsonl' else None
    if name == 'entries.jsonl':
        place = text.index('"p_home":0.') + 12
        path.write_text(text[:place] + str((int(digit) + 1) % 10) + text[place + 1 :])
    elif name == 'heads.jsonl':
        path.write_text(
            text.replace('"root":"', '"root":"0', 1).replace('0","size"', '","size"', 1)
        )
    else:
        path.write_text('')
    checked = check(folder, str(folder))
    assert checked.returncode == 1, checked.stdout


def test_a_last_entry_that_was_cut_off_is_found(ledger, tmp_path):
    folder = export_ledger(ledger, tmp_path / 'export').folder
    lines = (folder / 'entries.jsonl').read_text().splitlines(keepends=True)
    (folder / 'entries.jsonl').write_text(''.join(lines[:-1]))
    checked = check(folder, str(folder))
    assert (checked.returncode, 'removed from the end' in checked.stdout) == (1, True)


def test_another_key_and_another_root_are_not_believed(ledger, tmp_path):
    folder = export_ledger(ledger, tmp_path / 'export').folder
    other = public_key_hex(create_signing_key(tmp_path / 'other.pem'))
    assert check(folder, str(folder), '--key', other).returncode == 1
    assert check(folder, str(folder), '--head', 'ab' * 32).returncode == 1


def test_tables_hold_what_the_database_holds(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_export, '_ROWS_AT_ONCE', 4)
    folder = export_ledger(ledger, tmp_path / 'export', 'parquet').folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*FILES, 'forecasts.parquet', 'settlements.parquet']
    )
    for name, table in (('forecasts', schema.predictions), ('settlements', schema.settlements)):
        stored = read_frame(ledger, select(table))
        key = [column.name for column in table.primary_key]
        written = pl.read_parquet(folder / f'{name}.parquet')
        assert written.sort(key).equals(stored.sort(key))
        assert f'`{name}.parquet`' in (folder / 'README.md').read_text()
    assert check(folder, str(folder)).returncode == 0


def test_the_page_names_the_root_and_what_to_do(ledger, tmp_path):
    summary = export_ledger(ledger, tmp_path / 'export')
    page = (summary.folder / 'README.md').read_text()
    for text in (summary.root, summary.origin, '31 entries', 'python3 -I verify_ledger.py .'):
        assert text in page
    assert 'parquet' not in page
    assert '{' not in page


def test_the_check_imports_the_standard_library_alone():
    names = set()
    for node in ast.walk(ast.parse(verifier_source())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module.partition('.')[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.partition('.')[0] for alias in node.names}
    assert names
    assert names <= set(sys.stdlib_module_names)
    assert 'football_pred' not in names


# ---- completely or not at all


def test_a_folder_with_files_is_refused_and_left_alone(ledger, tmp_path):
    folder = tmp_path / 'taken'
    folder.mkdir()
    (folder / 'letter.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='taken holds files; name a new folder'):
        export_ledger(ledger, folder)
    assert [path.name for path in folder.iterdir()] == ['letter.txt']
    with pytest.raises(FileExistsError, match=r'letter\.txt is a file'):
        export_ledger(ledger, folder / 'letter.txt')


def test_an_empty_folder_and_a_new_one_in_new_folders_are_filled(ledger, tmp_path):
    (tmp_path / 'empty').mkdir()
    for folder in (tmp_path / 'empty', tmp_path / 'a' / 'b'):
        export_ledger(ledger, folder)
        assert sorted(path.name for path in folder.iterdir()) == FILES
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_an_export_that_fails_leaves_nothing(ledger, tmp_path, monkeypatch):
    def fail() -> str:
        raise OSError('No space left on device')

    monkeypatch.setattr(ledger_export, 'verifier_source', fail)
    place = tmp_path / 'place'
    place.mkdir()
    with pytest.raises(OSError, match='No space left'):
        export_ledger(ledger, place / 'export')
    assert list(place.iterdir()) == []


def test_an_empty_log_is_not_exported(tmp_path):
    engine = open_database(f'sqlite:///{tmp_path}/football.db')
    with pytest.raises(RecordNotFound, match='has no entry'):
        export_ledger(engine, tmp_path / 'export')
    engine.dispose()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['football.db']


def test_an_unknown_format_is_refused(ledger, tmp_path):
    with pytest.raises(ValueError, match="unknown format 'csv'"):
        export_ledger(ledger, tmp_path / 'export', 'csv')


def test_an_export_is_of_one_moment(ledger, tmp_path, monkeypatch):
    "Entries that are sealed while it is written are not in it, nor are their heads."
    heads = HeadFile(tmp_path / 'ledger-heads.jsonl', tmp_path / 'ledger-key.pem')
    original = ledger_export._row_lines
    sealed = []

    def seal_between(*arguments):
        if not sealed:
            entry = NewEntry('registration', 'm/2', {'model': 'm', 'version': '2', 'league': 'SIM'})
            thread = threading.Thread(
                target=lambda: sealed.append(record_entry(ledger, heads, entry))
            )
            thread.start()
            thread.join()
        return original(*arguments)

    monkeypatch.setattr(ledger_export, '_row_lines', seal_between)
    # the first query of the view is read_head, which fixes its moment
    summary = export_ledger(ledger, tmp_path / 'export')
    assert sealed[0]['size'] == 32
    assert (summary.entries, summary.heads) == (31, 3)
    assert check(summary.folder, str(summary.folder)).returncode == 0


# ---- databases that cannot be written


def test_a_reader_exports_and_cannot_write(ledger, tmp_path):
    reader = open_read_only(url_of(ledger))
    assert export_ledger(reader, tmp_path / 'export').entries == 31
    with pytest.raises(DBAPIError, match=r'readonly|read-only'), reader.begin() as connection:
        connection.execute(schema.teams.insert().values(country='x', team='y'))
    reader.dispose()


def test_the_role_of_readers_exports(postgresql, tmp_path):
    fill_sample_ledger(postgresql, HeadFile(tmp_path / 'heads.jsonl'), now())
    with write_transaction(postgresql) as connection:
        create_roles(connection, {READER_ROLE: 'reading', 'football_writer': 'writing'})
    url = make_url(url_of(postgresql)).set(username=READER_ROLE, password='reading')
    reader = open_read_only(url.render_as_string(hide_password=False))
    summary = export_ledger(reader, tmp_path / 'export', 'parquet')
    assert check(summary.folder, str(summary.folder)).returncode == 0
    assert forecast_receipt(reader, live_ids(postgresql)[0])['head']['size'] == 17
    reader.dispose()


def test_options_of_an_address_stay_and_it_is_still_read_only(postgresql):
    url = make_url(url_of(postgresql)).update_query_dict({'options': '-c work_mem=5MB'})
    reader = open_read_only(url.render_as_string(hide_password=False))
    with reader.connect() as connection:
        assert connection.exec_driver_sql('SHOW work_mem').scalar() == '5MB'
        assert connection.exec_driver_sql('SHOW transaction_read_only').scalar() == 'on'
    reader.dispose()


def test_an_empty_database_is_no_database(tmp_path, postgresql_server):
    for url in (f'sqlite:///{tmp_path}/missing.db', 'sqlite://', postgresql_server):
        with pytest.raises(DatabaseMissing):
            open_read_only(url)
    (tmp_path / 'empty.db').touch()
    with pytest.raises(DatabaseMissing, match=r'there is no database at .*empty\.db'):
        open_read_only(f'sqlite:///{tmp_path}/empty.db')
    assert [path.name for path in tmp_path.iterdir()] == ['empty.db']
    assert (tmp_path / 'empty.db').stat().st_size == 0


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / 'letter.db').write_text('Dear football, ' * 100)
    with pytest.raises(
        DatabaseUnreadable, match=r'letter\.db cannot be read: file is not a database'
    ):
        open_read_only(f'sqlite:///{tmp_path}/letter.db')


def test_a_database_of_an_earlier_release_is_not_upgraded_by_a_look(tmp_path):
    engine = open_database(f'sqlite:///{tmp_path}/football.db')
    with write_transaction(engine) as connection:
        downgrade_schema(connection, '0003')
    engine.dispose()
    with pytest.raises(MigrationRequired, match='stands at migration 0003'):
        open_read_only(f'sqlite:///{tmp_path}/football.db')
    engine = open_engine(f'sqlite:///{tmp_path}/football.db')
    with engine.connect() as connection:
        assert (
            connection.exec_driver_sql('SELECT version_num FROM alembic_version').scalar() == '0003'
        )
    engine.dispose()


AS_ANOTHER = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which('setpriv') is None,
    reason='needs root and setpriv (apt-get install util-linux) to become another user',
)
COUNT = """
import sys
from sqlalchemy import func, select
from football_pred.core.database import DatabaseUnreadable, open_read_only
from football_pred.core.schema import ledger_entries
try:
    engine = open_read_only(sys.argv[1])
except DatabaseUnreadable as error:
    print(error)
else:
    with engine.connect() as connection:
        print(connection.execute(select(func.count()).select_from(ledger_entries)).scalar())
"""


def read_as_another(folder: Path) -> str:
    "Number of entries as a user reads it who may write neither the folder nor its files."
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    try:
        result = subprocess.run(
            [*AS_ANOTHER, sys.executable, '-c', COUNT, f'sqlite:///{folder}/football.db'],
            capture_output=True,
            text=True,
            env=os.environ | {'PYTHONPATH': str(ROOT), 'PYTHONDONTWRITEBYTECODE': '1'},
        )
    finally:
        folder.chmod(0o755)
    assert result.returncode == 0, result.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return result.stdout.strip()


@pytest.fixture
def open_folder(tmp_path_factory) -> Iterator[Path]:
    "A folder that another user may enter: those of pytest are closed."
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix='ledger'))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def fill(folder: Path, stop: str) -> None:
    "A ledger in a folder, whose writer closes it, or is killed before it does."
    code = f"""
import os
from datetime import UTC, datetime
from pathlib import Path
from football_pred.forecasts.sample_ledger import sample_ledger
engine = sample_ledger(Path({str(folder)!r}), datetime.now(UTC))
{stop}
"""
    subprocess.run([sys.executable, '-c', code], check=True)


@needs_root
def test_a_home_that_cannot_be_written_is_read(open_folder):
    fill(open_folder, 'engine.dispose()')
    assert not (open_folder / 'football.db-wal').exists()
    assert read_as_another(open_folder) == '31'


@needs_root
def test_rows_in_the_log_of_a_killed_writer_are_read(open_folder):
    fill(open_folder, 'os._exit(0)')
    assert (open_folder / 'football.db-wal').stat().st_size > 0
    assert read_as_another(open_folder) == '31'


@needs_root
def test_rows_that_cannot_be_read_are_not_overlooked(open_folder):
    "A copy without football.db-shm: read as a file that never changes it would lack its last rows."
    fill(open_folder, 'os._exit(0)')
    (open_folder / 'football.db-shm').unlink()
    output = read_as_another(open_folder)
    assert 'Its latest rows are in football.db-wal' in output
    assert 'copy both files' in output


# ---- receipts


def test_a_receipt_is_checked_alone(ledger, tmp_path):
    export = export_ledger(ledger, tmp_path / 'export').folder
    for prediction_id in live_ids(ledger):
        receipt = forecast_receipt(ledger, prediction_id)
        path = tmp_path / 'receipt.json'
        path.write_text(json.dumps(receipt))
        checked = check(export, str(path), '--key', receipt['head']['key'])
        assert (checked.returncode, checked.stderr) == (0, ''), checked.stdout
        assert 'It is from before kick-off' in checked.stdout
        assert (receipt['entry']['content']['prediction_id'], receipt['head']['size']) == (
            prediction_id,
            17,
        )


@pytest.mark.parametrize('field', ['p_home', 'kickoff', 'created_at', 'match_id', 'kind'])
def test_a_changed_receipt_is_found(ledger, field):
    receipt = forecast_receipt(ledger, live_ids(ledger)[0])
    assert check_receipt(receipt).problems == []
    content = receipt['entry']['content']
    other = forecast_receipt(ledger, live_ids(ledger)[1])['entry']['content']
    content[field] = (
        'replay'
        if field == 'kind'
        else other[field]
        if other[field] != content[field]
        else '2031-01-01T00:00:00.000000+00:00'
    )
    assert check_receipt(receipt).problems != []


def test_a_forecast_that_does_not_exist_has_no_receipt(ledger):
    with pytest.raises(RecordNotFound, match="the ledger has no forecast 'unknown'"):
        forecast_receipt(ledger, 'unknown')


def anchor(connection, size: int, at: datetime) -> None:
    head = read_head(connection, size)
    row = dict(size=size, root=head['root'], place='git', at=at, receipt={'commit': 'ab' * 20})
    assert store_anchors(connection, [row]) == 1


def test_a_head_that_was_published_before_kickoff_is_preferred(ledger):
    prediction_id = live_ids(ledger)[0]
    with write_transaction(ledger) as connection:
        anchor(connection, 31, now())
    receipt = forecast_receipt(ledger, prediction_id)
    assert (receipt['head']['size'], receipt['anchors'][0]['place']) == (31, 'git')
    findings = check_receipt(receipt)
    assert findings.problems == []
    assert any('It is said to stand at git' in note for note in findings.notes)


def test_a_head_that_was_published_after_kickoff_is_not(ledger):
    with write_transaction(ledger) as connection:
        anchor(connection, 31, now() + timedelta(days=400))
    receipt = forecast_receipt(ledger, live_ids(ledger)[0])
    assert (receipt['head']['size'], receipt['anchors']) == (17, [])
