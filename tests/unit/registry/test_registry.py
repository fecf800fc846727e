"The registry: MLflow as a file and as a server, killed, changed or missing, and local copies."

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path

import boto3
import httpx
import mlflow
import numpy as np
import polars as pl
import pytest
from mlflow import version as mlflow_version
from mlflow.exceptions import MlflowException
from sqlalchemy import select

from football_pred.core.database import read_frame
from football_pred.core.ledger_log import HeadFile
from football_pred.core.schema import audit_log, events
from football_pred.core.settings import Settings
from football_pred.models.serialization import ModelError, packed_model_version
from football_pred.registry.mlflow_client import (
    MlflowRegistryClient,
    TrialResults,
    configure_mlflow,
    find_mlflow_runs,
    find_version,
    log_report,
    read_mlflow_schema,
)
from football_pred.registry.registry import (
    ChangeLog,
    Registry,
    connect_registry,
    read_listing,
    tabulate_versions,
)
from tests.support.registry_models import (
    AS_OF,
    FIXTURES,
    MODELS,
    NOW,
    VERSIONS,
    embedded_registry,
    register,
)
from tests.support.services import new_database
from tools.mlflow_schema import migrated_schema


class MlflowServer:
    "A real MLflow server, on a PostgreSQL database and an object store."

    def __init__(self, database: str, store: str) -> None:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        self.url = f'http://127.0.0.1:{self.port}'
        self.command = [
            sys.executable,
            '-m',
            'mlflow',
            'server',
            '--backend-store-uri',
            database,
            '--artifacts-destination',
            's3://football/mlflow',
            '--host',
            '127.0.0.1',
            '--port',
            str(self.port),
            '--workers',
            '1',
            '--allowed-hosts',
            '127.0.0.1:*,localhost:*',
        ]
        self.env = os.environ | {
            'MLFLOW_S3_ENDPOINT_URL': store,
            'AWS_ACCESS_KEY_ID': 'tests',
            'AWS_SECRET_ACCESS_KEY': 'tests',
            'AWS_DEFAULT_REGION': 'us-east-1',
            'MLFLOW_SERVER_ENABLE_JOB_EXECUTION': 'false',
            'MLFLOW_DISABLE_TELEMETRY': 'true',
        }

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=self.env,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            assert self.process.poll() is None, 'the server ended'
            try:
                if httpx.get(f'{self.url}/health').status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.2)
        raise TimeoutError('the server does not answer')

    def stop(self) -> None:
        os.killpg(self.process.pid, 9)  # its own group: the server and its worker
        self.process.wait(30)


@pytest.fixture(scope='session')
def server(postgresql_server, object_store):
    keys = {
        'aws_access_key_id': 'tests',
        'aws_secret_access_key': 'tests',
        'region_name': 'us-east-1',
    }
    boto3.client('s3', endpoint_url=object_store, **keys).create_bucket(Bucket='football')
    with new_database(postgresql_server) as url:
        server = MlflowServer(url, object_store)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope='session')
def empty_database(tmp_path_factory):
    "An empty MLflow database; creating one takes seconds."
    folder = tmp_path_factory.mktemp('mlflow')
    registry = connect_registry(**embedded_registry(folder))
    with registry.mlflow.session():
        assert registry.mlflow.client.search_registered_models() == []
    return folder / 'mlflow.db'


@pytest.fixture
def place(home, empty_database):
    "Where an embedded registry is."
    shutil.copy(empty_database, home / 'mlflow.db')
    return embedded_registry(home)


@pytest.fixture(params=['file', 'server'])
def anywhere(request, home, place):
    "Both kinds of registry, and a league of its own."
    if request.param == 'file':
        return place, 'SIM'
    return {
        'uri': request.getfixturevalue('server').url,
        'artifacts': '',
        'copies': home / 'models',
    }, f'S{uuid.uuid4().hex[:6]}'


def test_from_training_to_rollback(anywhere, engine, home):
    place, league = anywhere
    registry = connect_registry(
        **place, log=ChangeLog(engine, HeadFile(home / 'ledger-heads.jsonl'), lambda: NOW)
    )
    for name in MODELS:
        assert register(registry, name, league) == VERSIONS[name]
    register(registry, 'SIM-base-rate', league)  # the same bytes are the same version
    base, better, third = VERSIONS.values()
    registry.set_challenger(league, better)
    registry.promote(league, base, 'ada', 'the first')
    first = registry.champion(league)
    assert (first.name, first.source, registry.challenger(league).version) == (
        'SIM-base-rate',
        'registry',
        better,
    )
    for _ in range(2):
        registry.promote(league, '2', 'job train', 'it is better')
    assert (registry.champion(league).version, registry.challenger(league)) == (better, None)
    registry.promote(league, third, 'job train', 'better still')
    assert registry.rollback(league, 'ada', 'a doubt').version == better
    assert registry.rollback(league, 'ada', 'another').version == base
    with pytest.raises(ModelError, match='nothing to go back to'):
        registry.rollback(league, 'ada', 'too far')
    entries = read_frame(
        engine, select(audit_log.c.actor, audit_log.c.action).order_by(audit_log.c.sequence)
    )
    assert entries.rows() == [
        ('ada', 'promote'),
        ('job train', 'promote'),
        ('job train', 'promote'),
        ('ada', 'rollback'),
        ('ada', 'rollback'),
    ]
    payloads = read_frame(
        engine,
        select(events.c.payload).where(events.c.topic == 'models').order_by(events.c.sequence),
    )['payload'].to_list()
    moves = [(base, None), (better, base), (third, better), (better, third), (base, better)]
    assert [(payload['model_version'], payload['previous']) for payload in payloads] == moves
    table = registry.versions.table(league)
    assert table['number'].to_list() == [3, 2, 1]
    assert table.filter(pl.col('aliases').list.contains('champion'))['version'].to_list() == [base]
    assert table['metrics'].struct.field('rps').to_list() == [0.2] * 3


def test_the_report_of_a_training_is_kept_with_its_run(served_home):
    settings = Settings(home=served_home)
    registry = connect_registry(**settings.registry_options)
    (notebook,) = served_home.glob('reports/train/*/train.ipynb')
    (mlflow_run,) = find_mlflow_runs(registry.mlflow, notebook.parent.name)
    assert mlflow_run == find_version(registry.mlflow, 'E0', registry.champion('E0').version).run_id
    for file in (notebook, notebook.with_suffix('.html')):
        report = registry.mlflow.client.download_artifacts(mlflow_run, f'report/{file.name}')
        assert Path(report).read_bytes() == file.read_bytes()
    cells = json.loads(notebook.read_text())['cells']
    assert all(cell['execution_count'] for cell in cells if cell['cell_type'] == 'code'), 'complete'


def test_a_report_is_attached_anywhere(anywhere, home):
    place, league = anywhere
    registry = connect_registry(**place)
    trial = TrialResults({}, tags={'run_id': f'train-{league}'})
    registry.versions.register(
        league, MODELS['SIM-base-rate'], 'SIM-base-rate', {'as_of': AS_OF}, trial
    )
    (home / 'train.html').write_text('<h1>Train</h1>')
    mlflow_runs = find_mlflow_runs(registry.mlflow, f'train-{league}')
    log_report(registry.mlflow, mlflow_runs, [home / 'train.html'])
    assert [
        Path(registry.mlflow.client.download_artifacts(run, 'report/train.html')).read_text()
        for run in mlflow_runs
    ] == ['<h1>Train</h1>']
    assert find_mlflow_runs(registry.mlflow, 'train-of-nobody') == []


def test_mlflow_loads_our_model_with_the_same_probabilities(anywhere):
    place, league = anywhere
    registry = connect_registry(**place)
    mlflow.set_tracking_uri(place['uri'])
    for name, model in MODELS.items():
        registry.promote(league, register(registry, name, league), 'ada', 'try')
        loaded = mlflow.pyfunc.load_model(f'models:/{league}@champion')
        assert np.array_equal(
            loaded.predict(FIXTURES.to_pandas()).to_numpy(), model.predict_proba(FIXTURES)
        ), name
    with pytest.raises(MlflowException, match='home_team'):
        loaded.predict(FIXTURES.drop('home_team').to_pandas())
    run = registry.mlflow.client.get_run(find_version(registry.mlflow, league, '1').run_id)
    assert (run.data.tags['run_id'], run.data.params['as_of'], run.data.metrics['fold_rps']) == (
        'r',
        AS_OF,
        0.19,
    )
    assert {file.path for file in registry.mlflow.client.list_artifacts(run.info.run_id)} == {
        'model',
        'tables',
    }


class Pickled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[str]) -> list[str]:
        return model_input


def test_a_pickled_model_is_refused(tmp_path, place):
    configure_mlflow()
    mlflow.pyfunc.save_model(str(tmp_path / 'pickled'), python_model=Pickled(), pip_requirements=[])
    with pytest.raises(MlflowException, match=r'(?i)pickle'):
        mlflow.pyfunc.load_model(str(tmp_path / 'pickled'))


def test_a_dead_server_degrades_and_comes_back(server, home):
    place, league = (
        {'uri': server.url, 'artifacts': '', 'copies': home / 'models'},
        f'S{uuid.uuid4().hex[:6]}',
    )
    trainer, serving = (
        connect_registry(**place),
        connect_registry(**place | {'copies': home / 'elsewhere'}),
    )
    trainer.promote(league, register(trainer, 'SIM-base-rate', league), 'ada', 'the first')
    assert (serving.champion(league).name, serving.champion(league).source) == (
        'SIM-base-rate',
        'registry',
    )
    server.stop()
    began = time.monotonic()
    problems = serving.refresh()
    assert time.monotonic() - began < 60
    assert len(problems) == 1
    assert f'MLflow at 127.0.0.1:{server.port} does not answer' in problems[0]
    assert (serving.champion(league).name, serving.champion(league).source) == (
        'SIM-base-rate',
        'copy',
    )
    assert np.array_equal(
        serving.champion(league).model.predict_proba(FIXTURES),
        MODELS['SIM-base-rate'].predict_proba(FIXTURES),
    )
    with pytest.raises(ModelError, match='does not answer'):
        trainer.promote(league, '1', 'ada', 'try')
    server.start()
    trainer.promote(league, register(trainer, 'SIM-dixon-coles', league), 'ada', 'better')
    assert serving.champion(league).name == 'SIM-base-rate'  # until it asks
    assert serving.refresh() == []
    assert (serving.champion(league).name, serving.champion(league).source) == (
        'SIM-dixon-coles',
        'registry',
    )


def test_a_changed_artifact_is_never_served(place):
    registry = connect_registry(**place)
    registry.promote('SIM', register(registry, 'SIM-base-rate'), 'ada', 'the first')
    better = register(registry, 'SIM-dixon-coles')
    [path] = [
        path
        for path in Path(place['artifacts']).rglob('model.json')
        if packed_model_version(path.read_bytes()) == better
    ]
    path.write_bytes(path.read_bytes() + b' ')
    (place['copies'] / 'versions' / f'{better}.json').unlink()
    with pytest.raises(
        ModelError, match='artifact of version 2 of SIM was changed after it was registered'
    ):
        registry.promote('SIM', better, 'ada', 'try')
    registry.mlflow.client.set_registered_model_alias('SIM', 'champion', '2')  # by another program
    other = connect_registry(**place)
    [problem] = other.refresh()
    assert 'was changed after it was registered' in problem
    assert (other.champion('SIM').name, other.champion('SIM').source) == ('SIM-base-rate', 'copy')
    path.unlink()
    assert 'artifact of version 2 of SIM cannot be read' in other.refresh()[0]


def test_a_changed_copy_is_refused_and_brought_back(place):
    registry = connect_registry(**place)
    version = register(registry, 'SIM-base-rate')
    registry.promote('SIM', version, 'ada', 'the first')
    path = place['copies'] / 'versions' / f'{version}.json'
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match='was changed after it was kept'):
        connect_registry(**place).champion('SIM')
    other = connect_registry(**place)
    assert other.refresh() == []
    assert other.champion('SIM').version == version


def test_an_alias_moved_past_us_is_followed(place):
    registry = connect_registry(**place)
    for name in MODELS:
        register(registry, name)
    registry.promote('SIM', '1', 'ada', 'the first')
    registry.mlflow.client.set_registered_model_alias('SIM', 'champion', '3')
    assert connect_registry(**place).champion('SIM').number == '1'
    assert registry.refresh() == []
    assert registry.champion('SIM').number == '3'
    registry.promote('SIM', '2', 'ada', 'the second')
    assert registry.rollback('SIM', 'ada', 'a doubt').number == '3'
    registry.mlflow.client.delete_registered_model_alias('SIM', 'champion')
    assert registry.refresh() == ['MLflow has no champion of SIM: the last champion stays in use']
    assert (registry.champion('SIM').number, registry.champion('SIM').source) == ('3', 'copy')


def test_mistakes_are_answered(place):
    registry = connect_registry(**place)
    with pytest.raises(
        ModelError, match='league SIM has no trained model yet; run the job train for it'
    ):
        registry.champion('SIM')
    with pytest.raises(ModelError, match='unknown league'):
        registry.versions.table('SIM')
    registry.promote('SIM', register(registry, 'SIM-base-rate'), 'ada', 'the first')
    for ask in (
        lambda: registry.promote('SIN', '1', 'ada', 'try'),
        lambda: registry.champion('SIN'),
        lambda: registry.versions.table('SIN'),
    ):
        with pytest.raises(ModelError, match=r'did you mean SIM\?'):
            ask()
    version = VERSIONS['SIM-base-rate']
    with pytest.raises(ModelError, match=f"no version '{version[:12]}'; did you mean {version}"):
        registry.promote('SIM', version[:12], 'ada', 'try')
    with pytest.raises(ModelError, match='promote of SIM needs an actor and a reason'):
        registry.promote('SIM', '1', 'ada', '')


def python(code: str, place: dict) -> subprocess.Popen:
    "Another process, with `registry` in it."
    start = f'''import os, sys
from pathlib import Path
from football_pred.registry.registry import connect_registry
from tests.support.registry_models import *
registry = connect_registry({place["uri"]!r}, {place["artifacts"]!r}, Path({str(place["copies"])!r}))
'''
    return subprocess.Popen(
        [sys.executable, '-c', start + code],
        cwd=Path(__file__).parents[3],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_champion_is_read_without_mlflow(place):
    registry = connect_registry(**place)
    registry.promote('SIM', register(registry, 'SIM-dixon-coles'), 'ada', 'the first')
    code = f'''import sys
from pathlib import Path
from football_pred.registry.registry import connect_registry
registry = connect_registry({place["uri"]!r}, {place["artifacts"]!r}, Path({str(place["copies"])!r}))
champion = registry.champion('SIM')
print(champion.name, champion.source, 'mlflow' in sys.modules)'''
    printed = subprocess.run(
        [sys.executable, '-c', code], text=True, capture_output=True, check=True
    ).stdout
    assert printed.split() == ['SIM-dixon-coles', 'copy', 'False']


def listed(registry: Registry) -> list[tuple]:
    "Number, digest and aliases of the versions of SIM, as they are listed."
    return registry.versions.table('SIM').select('number', 'version', 'aliases').rows()


def held_by_mlflow(registry: Registry) -> list[tuple]:
    "The same, asked of MLflow."
    with registry.mlflow.session():
        league = read_listing(registry.mlflow)['SIM']
    return tabulate_versions(league).select('number', 'version', 'aliases').rows()


def write_with_log_ahead(path: Path, statement: str) -> sqlite3.Connection:
    "Write to a SQLite file through its log, as another program that stays open does."
    connection = sqlite3.connect(path)
    connection.execute('PRAGMA journal_mode=WAL')
    connection.execute(statement)
    connection.commit()
    return connection


def test_a_list_that_was_kept_is_never_stale(place, home):
    "Every change that another program makes is in the next list, and in the next refresh."
    registry = connect_registry(**place)
    for name in MODELS:
        register(registry, name)
    registry.promote('SIM', '1', 'ada', 'the first')
    client = registry.mlflow.client
    changes = [
        lambda: client.set_registered_model_alias('SIM', 'challenger', '3'),
        lambda: client.set_registered_model_alias('SIM', 'champion', '2'),
        lambda: client.set_registered_model_alias('SIM', 'champion', '1'),
        lambda: client.delete_registered_model_alias('SIM', 'challenger'),
        lambda: client.delete_model_version('SIM', '3'),
    ]
    numbers = ['1', '2', '1', '1', '1']
    for change, number in zip(changes, numbers, strict=True):
        before = listed(connect_registry(**place))
        change()
        after = listed(connect_registry(**place))
        assert after == held_by_mlflow(registry) != before
        other = connect_registry(**place)
        assert other.refresh() == []
        assert (other.champion('SIM').number, other.champion('SIM').source) == (number, 'registry')
    sql = "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'"
    with closing(write_with_log_ahead(home / 'mlflow.db', sql)):
        assert connect_registry(**place).refresh() == []
        assert registry.champion('SIM').number == '2'
        assert listed(connect_registry(**place)) == held_by_mlflow(registry)


def test_what_was_kept_is_read_without_mlflow(place):
    "Also after each change by this package; a copy that is missing is fetched."
    read = f'''import sys
from pathlib import Path
from football_pred.registry.registry import connect_registry
registry = connect_registry({place["uri"]!r}, {place["artifacts"]!r}, Path({str(place["copies"])!r}))
print(registry.refresh(), len(registry.versions.table('SIM')), registry.champion('SIM').source)
print('mlflow' in sys.modules)'''

    def printed() -> list[str]:
        command = [sys.executable, '-c', read]
        return subprocess.run(command, text=True, capture_output=True, check=True).stdout.split()

    registry = connect_registry(**place)
    registry.promote('SIM', register(registry, 'SIM-base-rate'), 'ada', 'the first')
    assert printed() == ['[]', '1', 'registry', 'False']
    registry.set_challenger('SIM', register(registry, 'SIM-dixon-coles'))
    assert printed() == ['[]', '2', 'registry', 'False']
    registry.set_challenger('SIM', None)
    registry.promote('SIM', '2', 'ada', 'better')
    registry.rollback('SIM', 'ada', 'a doubt')
    assert printed() == ['[]', '2', 'registry', 'False']
    version = VERSIONS['SIM-base-rate']
    (place['copies'] / 'versions' / f'{version}.json').unlink()
    assert printed() == ['[]', '2', 'registry', 'True']
    assert printed() == ['[]', '2', 'registry', 'False']


def test_two_trainings_at_once_on_a_new_home(home):
    "Neither meets an incomplete database, and both versions are registered."
    place = embedded_registry(home)
    processes = [
        python(f"print(register(registry, {name!r}))", place)
        for name in ('SIM-base-rate', 'SIM-dixon-coles')
    ]
    for process, name in zip(processes, ('SIM-base-rate', 'SIM-dixon-coles'), strict=True):
        output, errors = process.communicate(timeout=120)
        assert (output.strip(), process.returncode) == (VERSIONS[name], 0), errors
    assert set(connect_registry(**place).versions.table('SIM')['version']) == {
        VERSIONS[name] for name in ('SIM-base-rate', 'SIM-dixon-coles')
    }


@pytest.mark.parametrize(
    'operation',
    [
        'log_artifacts',
        'create_model_version',
        'set_registered_model_alias',
        'set_registered_model_tag',
    ],
)
def test_killed_mid_way_nothing_is_half(place, engine, operation, home):
    registry = connect_registry(
        **place, log=ChangeLog(engine, HeadFile(home / 'ledger-heads.jsonl'), lambda: NOW)
    )
    registry.promote('SIM', register(registry, 'SIM-base-rate'), 'ada', 'the first')
    killed = python(
        f'''registry.mlflow.client.{operation} = lambda *_, **__: os.kill(os.getpid(), 9)
registry.promote('SIM', register(registry, 'SIM-dixon-coles'), 'job train', 'it is better')''',
        place,
    )
    assert killed.wait(120) == -9, killed.stderr.read()
    for stream in (killed.stdout, killed.stderr):
        stream.close()
    again = connect_registry(
        **place, log=ChangeLog(engine, HeadFile(home / 'ledger-heads.jsonl'), lambda: NOW)
    )
    assert again.refresh() == []
    assert again.champion('SIM').name in ('SIM-base-rate', 'SIM-dixon-coles')
    again.promote('SIM', register(again, 'SIM-dixon-coles'), 'job train', 'it is better')
    assert again.versions.table('SIM')['version'].to_list() == [
        VERSIONS['SIM-dixon-coles'],
        VERSIONS['SIM-base-rate'],
    ]
    payloads = read_frame(
        engine,
        select(events.c.payload).where(events.c.topic == 'models').order_by(events.c.sequence),
    )['payload'].to_list()
    assert [(payload['model_version'], payload['change']) for payload in payloads] == [
        (VERSIONS['SIM-base-rate'], 1),
        (VERSIONS['SIM-dixon-coles'], 2),
    ]
    assert again.rollback('SIM', 'ada', 'a doubt').name == 'SIM-base-rate'


def test_a_database_killed_while_it_was_made(home):
    place = embedded_registry(home)
    killed = python(
        '''import mlflow.store.db.utils as utils
utils._verify_schema = lambda *_: os.kill(os.getpid(), 9)
register(registry, 'SIM-base-rate')''',
        place,
    )
    assert killed.wait(120) == -9, killed.stderr.read()
    for stream in (killed.stdout, killed.stderr):
        stream.close()
    assert not (home / 'mlflow.db').exists()
    assert register(connect_registry(**place), 'SIM-base-rate') == VERSIONS['SIM-base-rate']


# The empty database of MLflow


def clauses(schema):
    "Lines of statements, in an order of their own: MLflow writes constraints in any order."
    return sorted(line.strip().rstrip(',') for line in schema.splitlines())


def test_the_stored_schema_is_what_the_migrations_of_this_mlflow_make():
    stored = read_mlflow_schema(mlflow_version.VERSION)
    if not stored:
        pytest.skip(f'the stored schema is of another MLflow than {mlflow_version.VERSION}')
    assert len(clauses(stored)) > 600
    assert clauses(stored) == clauses(migrated_schema())


def test_another_mlflow_migrates_its_database(tmp_path, monkeypatch):
    schemas = []
    for version in (mlflow_version.VERSION, '1.0'):
        monkeypatch.setattr(mlflow_version, 'VERSION', version)
        path = tmp_path / version / 'mlflow.db'
        path.parent.mkdir()
        client = MlflowRegistryClient(f'sqlite:///{path}', str(path.parent / 'artifacts'))
        with client.session():
            assert client.client.search_registered_models() == []
        with closing(sqlite3.connect(path)) as connection:
            statements = connection.execute('SELECT sql FROM sqlite_master WHERE sql IS NOT NULL')
            schemas.append(clauses('\n'.join(row[0] for row in statements)))
    assert len(schemas[0]) > 600
    assert schemas[0] == schemas[1]


def test_an_equal_training_is_the_version_that_there_is(home):
    "Also under another name and later; other data, another recipe or other code is another version."
    registry = connect_registry(**embedded_registry(home))
    plain = MODELS['SIM-dixon-coles']
    data = {'as_of': AS_OF, 'data_fingerprint': 'ab'}
    code = TrialResults({}, tags={'code': 'one'})

    def number(model=plain, name='SIM-dixon-coles', changed=data, results=code) -> str:
        return registry.versions.register('SIM', model, name, data | changed, results).number

    later = {'as_of': '2027-01-01T00:00:00+00:00'}
    first = registry.versions.register('SIM', plain, 'SIM-dixon-coles', data, code)
    again = registry.versions.register('SIM', plain, 'SIM-other-name', data | later, code)
    assert (again.number, again.version, again.name) == ('1', first.version, 'SIM-dixon-coles')
    assert again.trained_on == data
    assert number(changed={'data_fingerprint': 'cd'}) == '2'
    assert number(model=MODELS['SIM-base-rate']) == '3'
    assert number(changed=later, results=TrialResults({}, tags={'code': 'two'})) == '4'
    assert number(changed={'as_of': '2028-01-01T00:00:00+00:00'}) == '1'
    assert registry.versions.table('SIM').height == 4
