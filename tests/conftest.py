"What several test files need: a folder to write to, a database in it, and the real data where they are at hand."

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import scipy.linalg
from sqlalchemy import Engine
from threadpoolctl import threadpool_limits
from xdist.remote import Producer

from football_pred.core.database import open_database
from football_pred.core.settings import Settings
from football_pred.jobs.warm_kernels import SINGLE_THREAD_ENV
from tests.support.schedule import FileScheduling, sort_tests
from tests.support.services import (
    free_port,
    new_database,
    postgresql_tools,
    run_postgresql,
    run_redis,
    url_of_server,
)

os.environ.pop('FOOTBALL_DATABASE_URL', None)  # of whoever runs the tests
assert scipy.linalg  # loaded, so that the limit reaches its threads too
threadpool_limits(1)  # matrices are small: more threads than one only wait for each other
os.environ |= SINGLE_THREAD_ENV  # the same for the processes that tests start


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--database',
        default='sqlite',
        choices=['sqlite', 'postgresql'],
        help='what `home` and `engine` keep their rows in',
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sort_tests(items)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling | None:
    if config.getvalue('dist') != 'loadfile':
        return None
    config.option.loadscopereorder = False
    return FileScheduling(config, log)


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


@pytest.fixture(scope='session')
def postgresql_server() -> Iterator[str]:
    "URL of the first database of a PostgreSQL server."
    with run_postgresql() as server:
        yield url_of_server(server)


@pytest.fixture
def postgresql(postgresql_server: str) -> Iterator[Engine]:
    "An empty PostgreSQL database with every table."
    with new_database(postgresql_server) as url:
        engine = open_database(url)
        yield engine
        engine.dispose()


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
    run(home, 'run', 'train', '-p', 'candidates', '[DixonColes]')
    return home


@pytest.fixture(scope='session')
def shared_data() -> Path:
    "Folder of real match data, which is no part of the project."
    beside_checkout = Path(__file__).parents[2] / 'shared/data'
    folder = Path(os.environ.get('FOOTBALL_SHARED_DATA', beside_checkout))
    if not folder.is_dir():
        pytest.skip(f'real data are not at hand: {folder} does not exist (FOOTBALL_SHARED_DATA)')
    return folder
