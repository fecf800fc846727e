"""The production stack: docker-compose.yml as the real Docker Compose reads it, and every service of ours run from it without Docker.

No Docker Engine runs here. What is proved: the file is valid and holds what it should; the command, environment and health check of each of our
services work, on this machine, against real PostgreSQL, Redis, S3 and Kafka servers; `up` and `down` call Docker as they should, where `docker` is a
small program that hands `config` and `version` to the real Compose and only writes down the rest. What is not: that images are built and pulled, that
containers start, and that read-only file systems, limits and networks hold."""

import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator

import click
import httpx
import pytest
import yaml
from click.testing import CliRunner
from dotenv import dotenv_values
from sqlalchemy import create_engine

from football_pred.cli import cli
from football_pred.cli.platform import (
    DockerCompose,
    StackError,
    find_docker_compose,
    generate_secrets,
    parse_env,
    start_problems,
    start_stack,
    stop_stack,
)
from football_pred.core.settings import Settings
from tests.support.kafka import run_kafka
from tests.support.platform import (
    COMPOSE,
    EVERYTHING,
    ROOT,
    SECRETS,
    TOOLS,
    compose,
    config,
    native,
    places_for,
)
from tests.support.services import free_port, new_database, run_redis

SERVICES = config()['services']
OURS = [name for name, one in SERVICES.items() if one['image'].startswith('football-pred')]
ONCE = ['migrate', 'buckets']


@pytest.mark.parametrize(
    'profiles', [(), ('lab',), ('tls',), EVERYTHING], ids=lambda names: '+'.join(names) or 'none'
)
def test_compose_takes_the_file(profiles):
    done = compose('config', '--quiet', profiles=profiles)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    without = {
        name
        for name, one in SERVICES.items()
        if one.get('profiles') and not set(one['profiles']) & set(profiles)
    }
    assert set(SERVICES) - set(config(profiles)['services']) == without


@pytest.mark.parametrize('name', SECRETS)
def test_a_secret_that_is_not_set_is_named(name):
    done = compose(
        'config', '--quiet', env={other: value for other, value in SECRETS.items() if other != name}
    )
    assert done.returncode
    assert f'required variable {name} is missing a value: ' in done.stderr


@pytest.mark.parametrize('name', SERVICES)
def test_service_is_looked_after(name):
    one = SERVICES[name]
    assert (one['restart'] == 'no') == (name in ONCE)
    if (
        name in ONCE
    ):  # somebody waits for its end, without which `up --wait` would take that for a failure
        assert any(
            other.get('depends_on', {}).get(name, {}).get('condition')
            == 'service_completed_successfully'
            for other in SERVICES.values()
        )
    else:
        assert one['restart'] == 'unless-stopped'
        health = one['healthcheck']
        assert {key: health[key] for key in ('interval', 'timeout')} == {
            'interval': '30s',
            'timeout': '10s',
        }
        assert 3 <= health['retries'] <= 5
        assert health['start_period']
    assert float(one['cpus']) > 0
    assert int(one['mem_limit']) >= 2**27
    assert one['pids_limit'] >= 64
    assert one['logging']['options'] == {'max-size': '10m', 'max-file': '3'}
    assert 'no-new-privileges:true' in one['security_opt']
    assert re.search(r':v?\d+\.\d+(\.\d+)?(-alpine)?$', one['image'])
    assert not one.get('privileged')
    assert {port['host_ip'] for port in one.get('ports', [])} <= {'127.0.0.1'}
    if one.get('configs'):
        assert not one.get('read_only')  # Compose would refuse to write it into the container
    assert set(one['networks']) == (
        {'backend', 'frontend'} if one.get('ports') or name == 'worker-collect' else {'backend'}
    )
    for other, about in one.get('depends_on', {}).items():
        assert about['condition'] == (
            'service_completed_successfully' if other in ONCE else 'service_healthy'
        )


@pytest.mark.parametrize('name', OURS)
def test_our_services_can_do_little(name):
    one = SERVICES[name]
    assert one['cap_drop'] == ['ALL']
    assert one['read_only']
    assert one['tmpfs'] == ['/tmp:mode=1777,size=512m']
    assert {volume['target'] for volume in one['volumes']} <= {'/var/lib/football', '/app/nbs'}


def test_the_stores_are_out_of_reach():
    assert config()['networks']['backend']['internal']
    for name in ('postgres', 'redis', 'cache', 's3', 'kafka'):
        assert set(SERVICES[name]['networks']) == {'backend'}


def test_roles_of_the_database():
    users = {
        name: re.match(
            r'postgresql\+psycopg://(\w+):', SERVICES[name]['environment']['FOOTBALL_DATABASE_URL']
        )[1]
        for name in OURS
    }
    assert [name for name, user in users.items() if user == 'football_admin'] == ['migrate']
    assert sorted(name for name, user in users.items() if user == 'football_reader') == [
        'exporter',
        'jupyter',
    ]
    assert {'football_admin', 'football_reader', 'football_writer'} == set(users.values())


def test_the_file_holds_no_secret():
    for line in COMPOSE.splitlines():
        if found := re.match(
            r'\s*(\w*(?:PASSWORD|TOKEN|SECRET|SECRET_ACCESS_KEY|ACCESS_KEY_ID)):\s*(.+)', line
        ):
            assert re.fullmatch(r'(&[\w-]+ )?\$\{\w+(:[?-][^}]*)?\}|\*[\w-]+', found[2]), line
        for password in re.findall(r'://\w*:([^@/\s]+)@', line):
            assert re.fullmatch(r'\$\{\w+(:\?[^}]*)?\}', password), line


@pytest.mark.parametrize('name', OURS)
def test_settings_are_known(name):
    known = {f'FOOTBALL_{field.upper()}' for field in Settings.model_fields}
    if name == 'migrate':
        known |= {
            'FOOTBALL_READER_PASSWORD',
            'FOOTBALL_WRITER_PASSWORD',
        }  # which `database roles` reads
    given = {
        key: value
        for key, value in SERVICES[name]['environment'].items()
        if key.startswith('FOOTBALL_')
    }
    assert not set(given) - known
    Settings(**{key.removeprefix('FOOTBALL_').lower(): value for key, value in given.items()})


def commands(words: list[str]) -> list[list[str]]:
    "The commands of football-pred in a command of a service."
    parts = words[2].split('&&') if words[:2] == ['sh', '-c'] else [shlex.join(words)]
    return [one[1:] for one in map(shlex.split, parts) if one[0] == 'football-pred']


def parse(words: list[str]) -> None:
    "Parse a command and its options as the command line does, without running it."
    group, context = cli, click.Context(cli)
    while isinstance(group, click.Group):
        name, group, words = group.resolve_command(context, words)
        if not isinstance(group, click.Group):
            context = group.make_context(name, list(words), parent=context)


@pytest.mark.parametrize('name', [name for name in OURS if commands(SERVICES[name]['command'])])
def test_commands_exist(name):
    for words in commands(SERVICES[name]['command']):
        parse(words)


def test_every_queue_has_its_workers():
    from football_pred.jobs.schedule import QUEUES

    assert sorted(
        name.removeprefix('worker-') for name in OURS if name.startswith('worker-')
    ) == sorted(QUEUES)


def test_mounts_exist():
    bound = [
        volume
        for one in SERVICES.values()
        for volume in one.get('volumes', [])
        if volume['type'] == 'bind'
    ]
    assert len(bound) == 5
    for volume in bound:
        assert os.path.exists(volume['source']), volume
        assert volume.get('read_only') or volume['target'] == '/app/nbs'
    kept = [
        volume['source']
        for one in SERVICES.values()
        for volume in one.get('volumes', [])
        if volume['type'] == 'volume'
    ]
    assert set(kept) == set(config()['volumes'])


def test_env_example_is_what_compose_asks_for():
    done = compose('config', '--variables')
    asked = {line.split()[0]: line.split()[2:] for line in done.stdout.splitlines()[1:]}
    example = dotenv_values(ROOT / '.env.example')
    assert set(example) == set(asked)
    assert {name: value for name, value in example.items() if value} == {
        name: words[0] for name, words in asked.items() if words
    }
    assert not any(example[name] for name in SECRETS)
    assert '.env' in (ROOT / '.gitignore').read_text().splitlines()


def test_dockerfile_is_clean():
    done = subprocess.run(
        [TOOLS / 'hadolint', '--failure-threshold', 'style', ROOT / 'Dockerfile'],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, '')


def test_the_builder_is_sent_what_the_image_takes():
    text, sent = (
        (ROOT / 'Dockerfile').read_text(),
        (ROOT / '.dockerignore').read_text().splitlines(),
    )
    taken = {
        path.split('/')[0]
        for line in re.findall(r'^COPY (?!--from)(.+) \S+$', text, re.M)
        for path in line.split()
    }
    assert {line[1:] for line in sent if line.startswith('!')} == taken
    assert '*' in sent
    assert re.findall(r'^USER (.+)$', text, re.M) == ['10001:10001']
    assert re.findall(r'postgresql-client-(\d+)', text) == re.findall(
        r'postgres:(\d+)', SERVICES['postgres']['image']
    )
    assert SERVICES['api']['command'][:4] == yaml.safe_load(
        re.findall(r'^CMD (.+)$', text, re.M)[-1]
    )


@pytest.mark.skipif(not shutil.which('promtool'), reason='promtool is not installed')
def test_prometheus_takes_its_file_and_finds_its_targets():
    done = subprocess.run(
        ['promtool', 'check', 'config', ROOT / 'monitoring/prometheus/prometheus.yml'],
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stdout + done.stderr
    jobs = yaml.safe_load((ROOT / 'monitoring/prometheus/prometheus.yml').read_text())[
        'scrape_configs'
    ]
    targets = {
        target.split(':')[0]
        for job in jobs
        for one in job['static_configs']
        for target in one['targets']
    }
    assert targets - {'localhost'} <= set(SERVICES)


# --- up and down

DOCKER = '''#!/bin/sh
# Stands in for Docker: reads and versions are the real Compose's; whatever needs an engine is written down.
echo "$*" >> "$CALLS"
case "$*" in
  "compose version --short") [ -z "$COMPOSE_VERSION" ] || { echo "$COMPOSE_VERSION"; exit 0; }; exec "$REAL" version --short ;;
  "info "*) [ -n "$ENGINE" ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; }; echo "$ENGINE" ;;
  *" config "*) shift; exec "$REAL" "$@" ;;
  *" ps --quiet") printf "$RUNNING" ;;
  *) case "$*" in *"$FAILS"*) exit 1 ;; esac ;;
esac
'''


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    "The files of the stack with free ports, and a docker on the path; `calls` has what it was called with."
    folder = tmp_path / 'checkout'
    folder.mkdir()
    shutil.copy(ROOT / 'docker-compose.yml', folder)
    ports = {
        f'{name}_PORT': free_port()
        for name in (
            'API',
            'GRAFANA',
            'PROMETHEUS',
            'ALERTMANAGER',
            'MLFLOW',
            'FLOWER',
            'JUPYTER',
            'HTTP',
            'HTTPS',
        )
    }
    example = (ROOT / '.env.example').read_text()
    for name, port in ports.items():
        example = re.sub(rf'^{name}=.*$', f'{name}={port}', example, flags=re.M)
    (folder / '.env.example').write_text(example)
    (tmp_path / 'docker').write_text(DOCKER)
    (tmp_path / 'docker').chmod(0o755)
    told = {
        'CALLS': tmp_path / 'calls',
        'REAL': TOOLS / 'docker-compose',
        'ENGINE': '28.5.1',
        'FAILS': 'nothing',
        'RUNNING': '',
        'COMPOSE_VERSION': '',
    }
    told |= {'PATH': f"{tmp_path}:{os.environ['PATH']}", 'FOOTBALL_PROJECT': folder}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    return folder


def calls(folder) -> list[str]:
    return (
        (folder.parent / 'calls')
        .read_text()
        .replace(f' --file {folder}/docker-compose.yml', '')
        .splitlines()
    )


def test_up_makes_secrets_starts_in_order_and_tells_addresses(checkout):
    done = CliRunner().invoke(cli, ['up', '--init-feast', '--profile', 'lab'])
    assert done.exit_code == 0, done.output
    made = parse_env((checkout / '.env').read_text())
    assert stat.S_IMODE((checkout / '.env').stat().st_mode) == 0o600
    assert all(re.fullmatch(r'[0-9a-f]{48}', made[name]) for name in SECRETS)
    assert len({made[name] for name in SECRETS}) == len(SECRETS)
    assert not [name for name in SECRETS if made[name] in done.output]
    assert [line for line in calls(checkout) if not re.search(r'version|info|config|ps', line)] == [
        'compose --profile lab build',
        'compose --profile lab up --detach --wait --wait-timeout 300 postgres redis cache s3 kafka',
        'compose --profile lab up --detach --wait --wait-timeout 600 --remove-orphans',
        'compose --profile lab exec --no-TTY worker-collect football-pred run features',
    ]
    for name, variable in (
        ('api', 'API_PORT'),
        ('grafana', 'GRAFANA_PORT'),
        ('jupyter', 'JUPYTER_PORT'),
    ):
        assert re.search(rf'^{name} +http://127\.0\.0\.1:{made[variable]}$', done.output, re.M)
    assert 'proxy' not in done.output


def test_a_secret_that_is_there_is_never_changed(checkout):
    (checkout / '.env').write_text(
        '# mine\nREDIS_PASSWORD=chosen\nexport GRAFANA_PASSWORD="also chosen"\nFLOWER_PASSWORD=\n'
    )
    assert sorted({*SECRETS} - {*generate_secrets(checkout)}) == [
        'GRAFANA_PASSWORD',
        'REDIS_PASSWORD',
    ]
    first = (checkout / '.env').read_bytes()
    assert first.startswith(
        b'# mine\nREDIS_PASSWORD=chosen\nexport GRAFANA_PASSWORD="also chosen"\nFLOWER_PASSWORD='
    )
    assert generate_secrets(checkout) == []
    assert (checkout / '.env').read_bytes() == first
    assert start_problems(find_docker_compose(checkout)) == [
        '.env: GRAFANA_PASSWORD may hold letters, digits, - and _ only'
    ]


def test_compose_and_we_read_the_same_of_env(checkout):
    generate_secrets(checkout)
    ours = parse_env((checkout / '.env').read_text())
    assert ours == dotenv_values(checkout / '.env')
    assert (
        ours['REDIS_PASSWORD']
        == find_docker_compose(checkout).services()['redis']['environment']['REDIS_PASSWORD']
    )


def test_all_that_is_missing_is_told_at_once(checkout, monkeypatch):
    generate_secrets(checkout)
    docker = find_docker_compose(checkout)
    assert start_problems(docker) == []
    monkeypatch.setenv('COMPOSE_VERSION', '2.19.1')
    monkeypatch.setenv('ENGINE', '24.0.7')
    with socket.create_server(('127.0.0.1', 0)) as listening:
        port = listening.getsockname()[1]
        (checkout / '.env').write_text(
            re.sub(
                r'^API_PORT=.*$', f'API_PORT={port}', (checkout / '.env').read_text(), flags=re.M
            )
        )
        assert start_problems(docker) == [
            'Docker Compose is 2.19.1, but 2.20 is needed; update the plugin docker-compose-plugin',
            'Docker Engine is 24.0.7, but 25 is needed; update it',
            f'port {port} of 127.0.0.1, wanted by api, is taken; stop who has it, or choose another in .env',
        ]
        monkeypatch.setenv('RUNNING', 'c0ffee')  # then it is our own
        assert len(start_problems(docker)) == 2
    monkeypatch.setenv('ENGINE', '')
    assert start_problems(docker)[-1].startswith('Docker Engine does not answer; start it')
    with pytest.raises(
        StackError,
        match=r'(?s)the stack cannot start:\n  - Docker Compose is 2\.19\.1.*\n  - Docker Engine does not',
    ):
        start_stack(docker)
    assert not [line for line in calls(checkout) if ' up ' in line]


def test_no_docker_and_no_file(checkout, tmp_path, monkeypatch):
    with pytest.raises(StackError, match=r'has no docker-compose\.yml'):
        find_docker_compose(tmp_path)
    assert start_problems(DockerCompose(checkout, '/bin/false')) == [
        'docker has no working plugin compose; install docker-compose-plugin'
    ]
    monkeypatch.setenv('PATH', os.defpath)
    with pytest.raises(StackError, match='docker is not on the path; install'):
        find_docker_compose(checkout)


def test_what_does_not_start_stays_to_be_looked_at(checkout, monkeypatch):
    monkeypatch.setenv('FAILS', 'up --detach --wait --wait-timeout 300')
    done = CliRunner().invoke(cli, ['up'])
    assert done.exit_code == 1
    assert 'stores: docker compose up failed, see above' in done.output
    assert not [
        line for line in calls(checkout) if re.search(r'\b(down|stop|rm)\b|timeout 600', line)
    ]


def test_down_keeps_data_unless_told_otherwise(checkout):
    generate_secrets(checkout)

    def last(*words: str, answer: str = '') -> tuple[int, str]:
        done = CliRunner().invoke(cli, ['down', *words], input=answer)
        return done.exit_code, calls(checkout)[-1]

    assert last() == (0, 'compose --profile * down --remove-orphans')
    assert last('--volumes', answer='n\n') == (1, 'compose --profile * down --remove-orphans')
    assert last('--volumes', answer='y\n') == (
        0,
        'compose --profile * down --remove-orphans --volumes',
    )
    stop_stack(find_docker_compose(checkout))
    assert last('--volumes', '--yes') == (0, 'compose --profile * down --remove-orphans --volumes')


# --- the services themselves, without Docker


@pytest.fixture(scope='module')
def kafka() -> Iterator[str]:
    with run_kafka() as broker:
        yield broker.servers


@pytest.fixture(scope='module')
def own_redis() -> Iterator[str]:
    "A Redis that nobody else is connected to, since health checks look at connections; in a container there are no others."
    with run_redis(free_port()) as url:
        yield url


@pytest.fixture
def places(
    postgresql, postgresql_server, object_store, kafka, own_redis
) -> Iterator[dict[str, str]]:
    "For every place that the file names, one that is here."
    with new_database(postgresql_server) as mlflow, new_database(postgresql_server) as features:
        databases = {
            'football': postgresql.url.render_as_string(hide_password=False),
            'mlflow': mlflow,
            'features': features,
        }
        yield places_for(databases, own_redis, kafka, object_store)


def test_buckets_are_made_once(places, object_store, tmp_path):
    from s3fs import S3FileSystem

    for _ in range(2):
        native('buckets', tmp_path, places).run_once()
    store = S3FileSystem(
        endpoint_url=object_store, key='any', secret='any', use_listings_cache=False
    )
    assert {'football', 'mlflow'} <= set(store.ls(''))


def test_mlflow_keeps_artifacts_in_the_bucket_and_knows_its_hosts(places, object_store, tmp_path):
    from s3fs import S3FileSystem

    native('buckets', tmp_path, places).run_once()
    mlflow = native('mlflow', tmp_path, places)
    assert not mlflow.healthy()
    with mlflow.running():
        address = f'http://127.0.0.1:{mlflow.port}/api/2.0'

        def asked(host: str) -> int:
            return httpx.get(
                f'{address}/mlflow/experiments/search?max_results=10', headers={'Host': host}
            ).status_code

        assert [
            asked(host)
            for host in ('mlflow:5000', f'localhost:{mlflow.port}', 'evil.example', 'mlflow:5001')
        ] == [200, 200, 403, 403]
        assert (
            httpx.put(
                f'{address}/mlflow-artifacts/artifacts/kept/here.txt', content=b'kept'
            ).status_code
            == 200
        )
        store = S3FileSystem(
            endpoint_url=object_store, key='any', secret='any', use_listings_cache=False
        )
        assert store.cat('mlflow/kept/here.txt') == b'kept'
    assert not mlflow.healthy()
    assert 'postgres' in mlflow.env['MLFLOW_BACKEND_STORE_URI']


def test_migrate_makes_tables_and_roles(places, postgresql_server, tmp_path):
    football, features = (
        places[name] for name in places if name.endswith(('/football', '/features'))
    )
    migrate = native(
        'migrate',
        tmp_path,
        places | {name: features for name, url in places.items() if url == football},
    )  # an empty database
    assert migrate.env['FOOTBALL_DATABASE_URL'] == features
    for _ in range(2):
        migrate.run_once()
    engine = create_engine(features)
    with engine.connect() as connection:
        assert (
            connection.exec_driver_sql(
                "SELECT count(*) FROM pg_tables WHERE tablename = 'matches' AND schemaname = 'public'"
            ).scalar()
            == 1
        )
        roles = (
            connection.exec_driver_sql(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE 'football%%' AND rolcanlogin"
            )
            .scalars()
            .all()
        )
        assert {'football_reader', 'football_writer'} <= set(roles)
        assert not connection.exec_driver_sql(
            "SELECT has_table_privilege('football_reader', 'matches', 'INSERT')"
        ).scalar()
        assert connection.exec_driver_sql(
            "SELECT has_table_privilege('football_writer', 'matches', 'INSERT')"
        ).scalar()
    engine.dispose()


@pytest.mark.parametrize('name', [name for name in OURS if name not in (*ONCE, 'mlflow')])
def test_service_runs_and_is_healthy(name, places, tmp_path):
    "Its own command, environment and health check: not well before, well while it runs, ended by SIGTERM."
    service = native(name, tmp_path, places)
    if name == 'jupyter' and os.geteuid() == 0:  # in the container nobody is root
        (tmp_path / 'tmp/jupyter').mkdir(parents=True)
        (tmp_path / 'tmp/jupyter/jupyter_server_config.json').write_text(
            '{"ServerApp": {"allow_root": true}}'
        )
    native('buckets', tmp_path, places).run_once()
    assert not service.healthy()
    with service.running():
        if name == 'jupyter':
            assert httpx.get(f'http://127.0.0.1:{service.port}/api/contents').status_code == 403
    if name != 'beat':
        assert not service.healthy()  # beat is judged by what it wrote in the last minutes
