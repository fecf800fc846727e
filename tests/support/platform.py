"The services of docker-compose.yml: as Compose understands them, and run on this machine without Docker."

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from football_pred.cli.platform import required_variables
from tests.support.server import wait_until
from tests.support.services import free_port
from tests.support.warm import warm_command

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
COMPOSE = (ROOT / 'docker-compose.yml').read_text()
SECRETS = {name: f'test-{name.lower().replace("_", "-")}' for name in required_variables(COMPOSE)}
EVERYTHING = ('lab', 'tls')
PORTS = {
    'api': 8000,
    'mlflow': 5000,
    'exporter': 9100,
    'flower': 5555,
    'jupyter': 8888,
}  # of services of ours, inside the stack


def compose(
    *arguments: str, profiles: Sequence[str] = EVERYTHING, env: Mapping[str, str] = SECRETS
) -> subprocess.CompletedProcess[str]:
    "The real Docker Compose, which needs no engine to read a file."
    words = [word for name in profiles for word in ('--profile', name)]
    return subprocess.run(
        [
            TOOLS / 'docker-compose',
            '--env-file',
            '/dev/null',
            '--file',
            ROOT / 'docker-compose.yml',
            *words,
            *arguments,
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={'PATH': os.defpath, 'HOME': '/nonexistent', **env},
    )


@cache
def config(profiles: tuple[str, ...] = EVERYTHING) -> dict[str, Any]:
    "The file as Compose understands it; its `$$` is a `$`."
    done = compose('config', '--format', 'json', profiles=profiles)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout.replace('$$', '$'))


def image_environment() -> dict[str, str]:
    "What the Dockerfile sets for every service of ours."
    text = re.search(
        r'^ENV ((?:.*\\\n)*.*HOME=.*(?:\n .*)*)',
        (ROOT / 'Dockerfile').read_text().split('AS build')[1],
        re.M,
    )
    assert text
    return dict(pair.split('=', 1) for pair in text[1].replace('\\\n', ' ').split())


def mapped(text: str, places: Mapping[str, str]) -> str:
    "A text with the patterns replaced, in one go: what was put in is not looked at again."
    every = '|'.join(f'(?P<place{number}>{pattern})' for number, pattern in enumerate(places))
    return re.sub(
        every,
        lambda found: list(places.values())[int(str(found.lastgroup).removeprefix('place'))],
        text,
    )


class Native:
    "A service of the file on this machine: its own command, environment and health check, with places put in for those of the stack."

    def __init__(self, name: str, folder: Path, mapping: Mapping[str, str], warm: bool = False):
        service = config()['services'][name]
        self.name, self.folder, self.log = name, folder, folder / f'{name}.log'
        self.warm = warm
        places = {
            **mapping,
            '/opt/football/bin': str(TOOLS),
            '/var/lib/football|/tmp/football': str(folder / 'home'),
            r'/tmp(?![^/])': str(folder / 'tmp'),
            r'/app(?![^/])': str(ROOT),
            r'\$PATH': os.defpath,
            r'\b0\.0\.0\.0\b': '127.0.0.1',
        }
        self.env = {
            key: mapped(str(value), places)
            for key, value in (image_environment() | service['environment']).items()
        }
        self.command = [mapped(word, places) for word in service['command']]
        kind, *words = service.get('healthcheck', {}).get('test', ['CMD', 'false'])
        self.check = [
            mapped(word, places) for word in (words if kind == 'CMD' else ['sh', '-c', *words])
        ]
        for part in ('home', 'tmp'):
            (folder / part).mkdir(exist_ok=True)

    @property
    def port(self) -> int:
        return int(self.command[self.command.index('--port') + 1])

    def _found(self, command: Sequence[str]) -> list[str]:
        "As the container would: looked for on the path of the image, but for a fork."
        if self.warm and command[0] == 'football-pred':
            return [*warm_command(), *command[1:]]
        return [shutil.which(command[0], path=self.env['PATH']) or command[0], *command[1:]]

    def healthy(self) -> bool:
        "What Docker would say of it."
        return (
            subprocess.run(
                self._found(self.check), env=self.env, capture_output=True, timeout=120
            ).returncode
            == 0
        )

    def run_once(self) -> str:
        "What a service of one run prints; it must succeed."
        done = subprocess.run(
            self._found(self.command), env=self.env, cwd=self.folder, capture_output=True, text=True
        )
        assert not done.returncode, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self) -> Iterator['Native']:
        "The service, from being healthy to the end of the block, when it must end by itself on SIGTERM."
        with self.log.open('a') as log:
            process = self.process = subprocess.Popen(
                self._found(self.command), env=self.env, cwd=self.folder, stdout=log, stderr=log
            )

        def well() -> bool:
            assert process.poll() is None, self.log.read_text()[-3000:]
            return self.healthy()

        try:
            try:
                wait_until(well, 900, pause=0.3)  # a check is a process
            except AssertionError as error:
                raise AssertionError(
                    f'{self.name} is not healthy: {self.log.read_text()[-3000:]}'
                ) from error
            yield self
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def native(service: str, folder: Path, mapping: Mapping[str, str], warm: bool = False) -> Native:
    """A service to be run without Docker; the mapping puts places of this machine for patterns of the file.

    A warm one is a fork of a process with its imports, where a test is not about how it starts.
    """
    return Native(service, folder, mapping, warm)


def places_for(
    databases: Mapping[str, str], redis: str, kafka: str, object_store: str
) -> dict[str, str]:
    "For every place that the file names, as a pattern, one of this machine; databases by their names, services of ours on free ports."
    redis_port, kafka_port, ports = (
        redis.split(':')[2].split('/')[0],
        int(kafka.split(':')[1]),
        {name: free_port() for name in PORTS},
    )
    return {
        **{
            rf'postgresql\+psycopg://[^@]+@postgres:5432/{name}': url
            for name, url in databases.items()
        },
        r'redis://:[^@]+@(redis|cache):6379': f'redis://127.0.0.1:{redis_port}',
        ':18EB 01 ': f':{int(redis_port):04X} 01 ',
        'kafka:9092': kafka,
        ':2384 01 ': f':{kafka_port:04X} 01 ',
        'http://s3:8333': object_store,
        **{rf'(?<=[/@]){name}:{port}': f'127.0.0.1:{ports[name]}' for name, port in PORTS.items()},
        **{rf'^{port}$|(?<=127\.0\.0\.1:){port}': str(ports[name]) for name, port in PORTS.items()},
    }
