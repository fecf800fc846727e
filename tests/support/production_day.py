"A day of ten leagues on the production set, whose processes may be killed and started again."

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests.support.kafka import run_kafka
from tests.support.pages import Host
from tests.support.platform import Native, native, places_for
from tests.support.server import COMMAND, wait_until
from tests.support.services import (
    free_port,
    new_database,
    run_postgresql,
    start_redis,
    url_of_server,
)

LEAGUES = ['E0', 'E1', 'D1', 'D2', 'F1', 'F2', 'I1', 'I2', 'SP1', 'SP2']
AS_OF = datetime(2025, 4, 1, tzinfo=UTC)
SERVICES = (
    'mlflow',
    'api',
    'relay',
    'consumer',
    'worker-collect',
    'worker-train',
    'worker-predict',
)
MODELS = '{base rate: {class: BaseRate}, Dixon-Coles: {class: DixonColes}}'  # of the backtest


def kill(process: psutil.Process | subprocess.Popen) -> None:
    "End a process without warning, and wait until it and its children are gone."
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    if isinstance(process, subprocess.Popen):
        process.wait(20)
    for one in psutil.wait_procs(children, 20)[1]:
        one.kill()  # those of PostgreSQL and Redis see by themselves that their parent is gone


class PostgreSQL:
    "A server of its own, which may die."

    def __init__(self, server: Any) -> None:
        self.server, self.url = server, url_of_server(server)

    def kill_and_start(self) -> None:
        kill(psutil.Process(self.server.get_pid()))
        wait_until(self._started)

    def _started(self) -> bool:
        try:
            self.server.ensure_postgres_running()
        except (AssertionError, subprocess.TimeoutExpired):
            return False  # it is still reading its log
        return True


class OwnRedis:
    "A server that keeps what it was told in a file, as that of docker-compose.yml does, and which may die."

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port, self.folder = free_port(), folder
        self.start()

    def start(self) -> None:
        self.process = start_redis(self.port, '--appendonly', 'yes', '--dir', str(self.folder))

    def kill_and_start(self) -> None:
        kill(self.process)
        self.start()

    def close(self) -> None:
        kill(self.process)


@dataclass
class Platform:
    "What runs, and may be killed."

    services: dict[str, Native]
    running: dict[str, ExitStack]
    stores: dict[str, PostgreSQL | OwnRedis]

    @property
    def env(self) -> dict[str, str]:
        return self.services['worker-predict'].env

    def kill_and_start(self, name: str) -> None:
        if name in self.stores:
            return self.stores[name].kill_and_start()
        kill(self.services[name].process)
        self.running[name].close()
        self.running[name].enter_context(self.services[name].running())

    def busy(self) -> list[psutil.Process]:
        "Processes of workers that have a kernel."
        mains = [
            psutil.Process(one.process.pid)
            for name, one in self.services.items()
            if name.startswith('worker-')
        ]
        return [child for main in mains for child in main.children() if child.children()]


@contextmanager
def production(
    folder: Path,
    object_store: str,
    data: Path,
    services: Sequence[str] = SERVICES,
    part_orders: int = 2,
) -> Iterator[Platform]:
    "The services of docker-compose.yml without Docker, over real pages of ten leagues and two seasons, of which the first has been collected."
    with ExitStack() as stack:
        host, kafka = stack.enter_context(Host()), stack.enter_context(run_kafka())
        for path in (data / 'football_data_uk').glob('*_2[34]2[45].csv'):
            league, season = path.stem.split('_')
            host.pages[f'/mmz4281/{season}/{league}.csv'] = path
        host.pages['/fixtures.csv'] = data / 'football_data_uk/fixtures.csv'
        stores = {
            'postgresql': PostgreSQL(stack.enter_context(run_postgresql())),
            'redis': OwnRedis(folder / 'redis'),
        }
        stack.callback(stores['redis'].close)
        databases = {
            name: stack.enter_context(new_database(stores['postgresql'].url))
            for name in ('football', 'mlflow', 'features')
        }
        places = places_for(
            databases, f"redis://127.0.0.1:{stores['redis'].port}/0", kafka.servers, object_store
        )
        for name in ('buckets', 'migrate'):
            native(name, folder, places).run_once()
        known = {name: native(name, folder, places) for name in SERVICES}
        known['consumer'].command += ['--as-of', AS_OF.isoformat()]
        changed = {
            'FOOTBALL_FOOTBALL_DATA_UK_URL': host.url,
            'FOOTBALL_HEARTBEAT_SECONDS': '1',
            'FOOTBALL_PART_ORDERS': str(part_orders),
        }
        for service in known.values():
            service.env |= changed
        subprocess.run(
            ordered('collect', '2324'),
            env=known['worker-collect'].env,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        running = {name: stack.enter_context(ExitStack()) for name in services}
        for name in services:
            running[name].enter_context(known[name].running())
        yield Platform(known, running, stores)


def ordered(name: str, season: str, *further: str, models: str = MODELS) -> list[str]:
    "The command that runs a job or pipeline for the ten leagues."
    given = {
        'source': 'football_data_uk',
        'leagues': json.dumps(LEAGUES),
        'seasons': json.dumps([season]),
        'models': models,
    }
    taken = {
        'collect': ('source', 'leagues', 'seasons'),
        'clean': (),
        'backtest': ('leagues', 'seasons', 'models'),
    }.get(name, tuple(given))
    return [
        str(COMMAND),
        'run',
        name,
        *further,
        *[word for one in taken for word in ('-p', one, given[one])],
        '--as-of',
        AS_OF.isoformat(),
    ]
