"A home with a trained model, and a server over it as a process of its own."

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.services import free_port
from tests.support.warm import warm_command

COMMAND = Path(sys.executable).parent / 'football-pred'


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    "A command over this home, which must succeed."
    return subprocess.run(
        [*warm_command(), *arguments],
        env=os.environ | {'FOOTBALL_HOME': str(home)},
        capture_output=True,
        text=True,
        check=True,
    )


def wait_until(condition: Callable[[], Any], seconds: float = 300, pause: float = 0.05) -> Any:
    "Wait until a condition holds, and return its value."
    ends = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < ends, 'waited in vain'
        time.sleep(pause)
    return value


@contextmanager
def started(
    command: Sequence[str | Path], address: str, told: Callable[[], str] = str, **options: Any
) -> Iterator[None]:
    "A process that answers at an address, until the end of the block; `told` says why it ended before."
    process = subprocess.Popen(command, **options)

    def answers() -> bool:
        assert process.poll() is None, told()
        try:
            return httpx.get(address).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers)
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def serving(home: Path, *arguments: str, **env: str) -> Iterator[str]:
    "The address of a server over this home, once the process answers."
    address = f'http://127.0.0.1:{(port := free_port())}'
    command = [*warm_command(), 'serve', '--port', str(port), *arguments]
    patient = {'FOOTBALL_RATE_LIMIT': '', 'FOOTBALL_REQUEST_SECONDS': '600'}  # if it is busy too
    env = os.environ | {'FOOTBALL_HOME': str(home)} | patient | env
    with (
        (home / 'log').open('a') as log,
        started(
            command,
            f'{address}/health/live',
            (home / 'log').read_text,
            stderr=log,
            stdout=log,
            env=env,
        ),
    ):
        yield address
