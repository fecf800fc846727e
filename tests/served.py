"A home with a trained model, and a server over it as a process of its own."
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.conftest import free_port

COMMAND = Path(sys.executable).parent/'football-pred'


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    "A command over this home, which must succeed."
    return subprocess.run([COMMAND, *arguments], env=os.environ | {'FOOTBALL_HOME': str(home)}, capture_output=True, text=True, check=True)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, 'waited in vain'
        time.sleep(0.05)


@contextmanager
def serving(home: Path, *arguments: str, **env: str) -> Iterator[str]:
    "The address of a server over this home, once the process answers."
    address = f'http://127.0.0.1:{(port := free_port())}'
    def answers() -> bool:
        assert process.poll() is None, (home/'log').read_text()
        try: return httpx.get(f'{address}/health/live').status_code == 200
        except httpx.TransportError: return False
    with (home/'log').open('a') as log:
        process = subprocess.Popen([COMMAND, 'serve', '--port', str(port), *arguments], stderr=log, stdout=log,
                                   env=os.environ | {'FOOTBALL_HOME': str(home), 'FOOTBALL_RATE_LIMIT': ''} | env)
        try:
            wait_until(answers)
            yield address
        finally:
            process.terminate()
            process.wait(20)
