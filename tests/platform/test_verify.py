"""The production set, without Docker, by the commands and settings of docker-compose.yml: a day, `verify`, and each part gone in turn.

PostgreSQL, Redis, a server of the S3 API and one of Kafka's protocol are the real ones of the other tests; Grafana cannot be run here."""

import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import pytest
from upath import UPath

from football_pred.core.database import count_rows, open_database
from football_pred.core.settings import Settings
from football_pred.jobs.production_checks import verify_platform
from tests.platform.test_stack import kafka, own_redis, places
from tests.support.monitoring import alertmanager, prometheus, receiver
from tests.support.platform import native
from tests.support.warm import warm_command

FIXTURES = (kafka, own_redis, places)
SERVICES = (
    'mlflow',
    'api',
    'relay',
    'consumer',
    'worker-collect',
    'worker-train',
    'worker-predict',
    'worker-maintenance',
    'flower',
    'exporter',
)
MODELS = '{base rate: {class: BaseRate}, Dixon-Coles: {class: DixonColes}}'  # of the backtest
JOBS = ('collect', 'clean', 'features', 'train', 'backtest', 'predict', 'settle')


@dataclass
class Platform:
    "Services that run, each of which can be stopped alone, and the environment of a worker."

    running: dict[str, ExitStack]
    env: dict[str, str]

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*warm_command(), *arguments], env=self.env, capture_output=True, text=True
        )


@pytest.fixture
def platform(places, tmp_path, monkeypatch):
    "Every service that can be run here, healthy."
    for name in ('buckets', 'migrate'):
        native(name, tmp_path, places).run_once()
    services = {name: native(name, tmp_path, places, warm=True) for name in SERVICES}
    with ExitStack() as stack:
        running = {name: stack.enter_context(ExitStack()) for name in (*SERVICES, 'prometheus')}
        for name, service in services.items():
            running[name].enter_context(service.running())
        other = stack.enter_context(alertmanager(tmp_path, stack.enter_context(receiver())[0]))
        targets = {name: f'127.0.0.1:{services[name].port}' for name in ('api', 'exporter')}
        one = running['prometheus'].enter_context(
            prometheus(tmp_path, '1s', alertmanager=other.removeprefix('http://'), **targets)
        )
        watched = {
            'FOOTBALL_PROMETHEUS_URL': one,
            'FOOTBALL_ALERTMANAGER_URL': other,
            'FOOTBALL_GRAFANA_URL': '',
        }
        platform = Platform(running, services['worker-maintenance'].env | watched)
        for name, value in platform.env.items():
            if name != 'PATH':
                monkeypatch.setenv(name, value)
        yield platform


def test_a_day_on_the_production_set_and_every_part_gone_in_turn(platform):
    call, running = platform.call, platform.running
    day = call('run', 'daily', '--on', 'workers', '-p', 'models', MODELS)
    assert day.returncode == 0, day.stdout + day.stderr
    assert [line.split()[2] for line in day.stdout.splitlines() if line.startswith('✓')] == [
        'succeeded'
    ] * len(JOBS), day.stdout
    settings = Settings()
    engine = open_database(**settings.database_options)
    assert count_rows(engine)['predictions'] > 50
    assert {path.parent.parent.name for path in UPath(settings.reports_url).glob('*/*/*.html')} >= {
        *JOBS
    }
    done = call('run', 'verify')
    assert done.returncode == 0, done.stdout + done.stderr
    tried = {
        one.part: one for one in verify_platform(settings, engine, lambda: datetime.now(UTC), 30)
    }
    assert {part: one.state for part, one in tried.items() if one.state != 'passed'} == {
        'Grafana': 'not configured'
    }, tried
    assert len(tried) == 16

    def failed(part, changed=settings):
        [one] = verify_platform(changed, engine, lambda: datetime.now(UTC), 3, [part])
        return one.state, one.evidence

    nowhere = 'redis://127.0.0.1:1/0'
    for part, change in (
        ('cache', {'cache_url': nowhere}),
        ('broker', {'kafka_servers': '127.0.0.1:1'}),
        ('workers', {'broker_url': nowhere}),
        ('feature store', {'features_online_url': nowhere}),
    ):
        state, why = failed(part, Settings(**change))
        assert (state, bool(why)) == ('failed', True), (part, why)
    for service, part in (
        ('exporter', 'metrics'),
        ('api', 'API'),
        ('flower', 'Flower'),
        ('worker-predict', 'workers'),
        ('relay', 'stream'),
        ('prometheus', 'Prometheus'),
        ('mlflow', 'registry'),
    ):
        running[service].close()
        if service == 'relay':  # something that waits to be carried
            later = call('run', 'predict', '--as-of', '2026-04-12T00:00Z')  # after new results
            assert later.returncode == 0, later.stderr
        assert failed(part)[0] == 'failed', (service, part, failed(part))
    with pytest.raises(httpx.TransportError):
        httpx.get(settings.api_url)
    red = call('run', 'verify', '-p', 'only', '[database, metrics]', '-p', 'patience', '3.0')
    assert (red.returncode, 'metrics is 1' in red.stdout, 'database 0' in red.stdout) == (
        1,
        True,
        True,
    ), red.stdout
    engine.dispose()
