"""Rules, dashboards, routes and runbook agree, and work in Prometheus and Alertmanager.

Both read the files of the project, over a day of the platform with faults;
`tests/support/monitoring.py` shortens their times.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import click
import httpx
import pytest
import yaml
from sqlalchemy import select

from football_pred.api.telemetry import Telemetry
from football_pred.cli import cli
from football_pred.core import schema
from football_pred.core.database import open_database, upsert, write_transaction
from football_pred.core.settings import Settings
from football_pred.metrics.catalog import METRIC_CATALOG
from tests.support.exporter_day import record_run
from tests.support.faults import FAULTS
from tests.support.monitoring import (
    BOARDS,
    MONITORING,
    ROOT,
    alertmanager,
    all_queries,
    fill_alertmanager,
    panels,
    prometheus,
    query,
    receiver,
    rules,
    selectors,
    without_data,
)
from tests.support.server import COMMAND, run, started, wait_until
from tests.support.services import free_port
from tests.support.warm import warm_command

ALERTS = {rule['alert']: rule for rule in rules('alert')}
CATALOG_BY_NAME = {metric.name: metric for metric in METRIC_CATALOG}
RUNBOOK = MONITORING / 'RUNBOOK.md'
TESTED = {
    test['name']: test
    for path in (MONITORING / 'prometheus/tests').glob('*.yml')
    for test in yaml.safe_load(path.read_text())['tests']
}
OTHERS = {'up', 'flower_worker_online', 'flower_worker_number_of_currently_executing_tasks'}
needs_prometheus = pytest.mark.skipif(
    not all(map(shutil.which, ('prometheus', 'promtool', 'prometheus-alertmanager', 'amtool'))),
    reason='the packages prometheus and prometheus-alertmanager are not installed',
)


# --- the files


@needs_prometheus
def test_rules_hold_and_are_tested():
    for word, folder in (('check', 'rules'), ('test', 'tests')):
        files = sorted((MONITORING / 'prometheus' / folder).glob('*.yml'))
        done = subprocess.run(['promtool', word, 'rules', *files], capture_output=True, text=True)
        assert not done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize('name', ALERTS)
def test_alert_is_quiet_fires_and_ends(name):
    cases = [
        case
        for test in TESTED.values()
        for case in test.get('alert_rule_test', [])
        if case['alertname'] == name
    ]
    fires = [bool(case.get('exp_alerts')) for case in cases]
    assert not fires[0]
    assert any(fires)
    assert not fires[-1]


@pytest.mark.parametrize('name', ALERTS)
def test_alert_says_what_to_do(name):
    alert = ALERTS[name]
    assert set(alert['labels']) == {'severity', 'component'}
    assert alert['labels']['severity'] in ('critical', 'warning', 'info')
    assert alert['annotations']['runbook_url'] == f'monitoring/RUNBOOK.md#{name.lower()}'
    assert f'\n### {name}\n' in RUNBOOK.read_text()


def test_the_runbook_has_no_alert_that_is_gone():
    assert set(re.findall(r'^### (\w+)$', RUNBOOK.read_text(), re.M)) == set(ALERTS)


def test_commands_of_the_runbook_exist():
    text = RUNBOOK.read_text()
    commands = re.findall(
        r'football-pred [^`\n#&|;]+', ' '.join(re.findall(r'`[^`]*`', text.replace('```', '')))
    ) + [
        found
        for block in re.findall(r'```sh\n(.*?)```', text, re.S)
        for found in re.findall(r'football-pred [^\n#&|;]+', block)
    ]
    assert len(commands) > 30
    for command in commands:
        words, group, context = shlex.split(command)[1:], cli, click.Context(cli)
        while isinstance(group, click.Group) and words:
            name, group, words = group.resolve_command(context, words)
            if not isinstance(group, click.Group):
                group.make_context(name, list(words), parent=context)
        assert group is not cli, command


def test_dashboards_are_what_the_tool_writes():
    done = subprocess.run(
        [sys.executable, ROOT / 'tools/dashboards.py', '--check'], capture_output=True, text=True
    )
    assert not done.returncode, done.stdout
    assert 'football_prediction_performance' in BOARDS


@pytest.mark.parametrize('name', BOARDS)
def test_dashboard_can_be_read(name):
    board, variables = (
        BOARDS[name],
        {one['name'] for one in BOARDS[name].get('templating', {}).get('list', [])},
    )
    ids = [one['id'] for outer in board['panels'] for one in (outer, *outer.get('panels', []))]
    assert len(ids) == len(set(ids)) > len(board['panels']) // 2
    assert (board['uid'], board['refresh'], board['description'] != '', len(board['links'])) == (
        name,
        '30s',
        True,
        2,
    )
    used = set()
    for panel in panels(board):
        assert panel['description']
        assert panel['fieldConfig']['defaults']['unit']
        assert panel['datasource'] == {'type': 'prometheus', 'uid': 'prometheus'}
        used |= {
            word for target in panel['targets'] for word in re.findall(r'\$(\w+)', target['expr'])
        } - {'__rate_interval'}
    assert used == variables


def test_every_metric_exists():
    server = {
        sample
        for family in Telemetry().registry.collect()
        for kind in ('', '_total', '_sum', '_count', '_bucket')
        if kind in ('', '_total') or family.type == 'histogram'
        for sample in (family.name + kind,)
    }
    ours = {
        name + kind
        for name, one in CATALOG_BY_NAME.items()
        for kind in (('_sum', '_count', '_bucket') if one.kind == 'histogram' else ('',))
    }
    known = server | ours | OTHERS | {rule['record'] for rule in rules('record')}
    found = {one.name for expression in all_queries().values() for one in selectors(expression)}
    assert not found - known
    assert found >= OTHERS
    labels = {
        one.name: {matcher.name for matcher in one.matchers.matchers}
        for expression in all_queries().values()
        for one in selectors(expression)
    }
    assert not {
        (name, label)
        for name, own in labels.items()
        if name in CATALOG_BY_NAME
        for label in own - set(CATALOG_BY_NAME[name].labels)
    }


def test_grafana_finds_source_and_dashboards():
    folder = MONITORING / 'grafana/provisioning'
    (source,) = yaml.safe_load((folder / 'datasources/prometheus.yml').read_text())['datasources']
    assert (source['uid'], source['url'], source['type']) == (
        'prometheus',
        'http://prometheus:9090',
        'prometheus',
    )
    (provider,) = yaml.safe_load((folder / 'dashboards/football.yml').read_text())['providers']
    assert (
        f"./monitoring/grafana/dashboards:{provider['options']['path']}:ro"
        in (ROOT / 'docker-compose.yml').read_text()
    )


ALL_VARIABLES = {
    'ALERT_WEBHOOK_URL': "http://hook/a&b|c\\d'e",
    'ALERT_SLACK_URL': 'http://slack',
    'ALERT_SLACK_CHANNEL': '#football',
    'ALERT_MAIL_TO': 'a@b.c',
    'ALERT_MAIL_FROM': 'd@b.c',
    'ALERT_MAIL_SERVER': 'mail:25',
    'ALERT_MAIL_USER': 'd',
    'ALERT_MAIL_PASSWORD': "it's & $1 \\",
}


@needs_prometheus
@pytest.mark.parametrize('names', [(), ('ALERT_WEBHOOK_URL',), tuple(ALL_VARIABLES)], ids=len)
def test_alertmanager_takes_what_is_filled_in(names, tmp_path):
    path = fill_alertmanager(tmp_path, **{name: ALL_VARIABLES[name] for name in names})
    done = subprocess.run(['amtool', 'check-config', path], capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    receivers = {one['name']: one for one in yaml.safe_load(path.read_text())['receivers']}
    hooks = [
        one['url']
        for name in ('critical', 'info')
        for one in receivers[name]['webhook_configs'] or []
    ]
    assert hooks == [ALL_VARIABLES['ALERT_WEBHOOK_URL']] * 2 * bool(names)
    if len(names) > 1:
        assert (
            receivers['critical']['email_configs'][0]['auth_password']
            == ALL_VARIABLES['ALERT_MAIL_PASSWORD']
        )
    assert bool(receivers['warning']['slack_configs']) == (len(names) > 1)


@needs_prometheus
@pytest.mark.parametrize('name', ALERTS)
def test_alert_goes_to(name, tmp_path):
    labels = ALERTS[name]['labels']
    words = [
        'amtool',
        'config',
        'routes',
        'test',
        f'--config.file={fill_alertmanager(tmp_path)}',
        f"--verify.receivers={labels['severity']}",
        f'alertname={name}',
        *(f'{key}={value}' for key, value in labels.items()),
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr


# --- a day of the platform


@pytest.fixture(scope='module')
def platform(day: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    "All processes over the exporter's day, with a source that lacks its token, an unknown name, and a rejected row."
    folder = tmp_path_factory.mktemp('monitored')
    home = folder / 'home'
    shutil.copytree(day, home)
    with pytest.raises(subprocess.CalledProcessError):
        run(home, 'run', 'collect', '-p', 'source', 'football_data_org')
    engine = open_database(Settings(home=home).database_dsn)
    with write_transaction(engine) as connection:
        snapshot = connection.execute(select(schema.snapshots.c.snapshot_id)).scalars().first()
        row = dict(
            snapshot_id=snapshot,
            kind=schema.REJECT_KINDS[0],
            row={'league': 'E0', 'home_team': 'Nobody United', 'away_team': 'Arsenal'},
        )
        upsert(
            connection,
            schema.rejects,
            [
                row | {'row_number': 99_999, 'reason': 'unknown team: Nobody United'},
                row | {'row_number': 99_998, 'reason': 'no score', 'row': {}},
            ],
        )
    engine.dispose()
    ports = {'api': free_port(), 'exporter': free_port()}
    env = {
        'FOOTBALL_HOME': str(home),
        'FOOTBALL_RATE_LIMIT': '',
        'FOOTBALL_API_URL': f"http://127.0.0.1:{ports['api']}",
        'PATH': str(COMMAND.parent),
    }
    told = home / 'log'

    def process(name: str) -> ExitStack:
        words = {
            'api': ['serve', '--log-level', 'WARNING'],
            'exporter': ['exporter', '--interval', '0.5', '--log-level', 'WARNING'],
        }[name]
        path, own = {'api': '/health/live', 'exporter': '/metrics'}[name], ExitStack()
        log = own.enter_context(told.open('a'))
        own.enter_context(
            started(
                [*warm_command(), *words, '--port', str(ports[name])],
                f'http://127.0.0.1:{ports[name]}{path}',
                told.read_text,
                stdout=log,
                stderr=log,
                env=env,
            )
        )
        return own

    with ExitStack() as stack:
        address, got = stack.enter_context(receiver())
        alerts = stack.enter_context(alertmanager(folder, address))
        running = {name: process(name) for name in ports}
        for name in ports:
            stack.callback(lambda name=name: running[name].close())
        targets = {name: f'127.0.0.1:{port}' for name, port in ports.items()} | {
            'alertmanager': alerts.removeprefix('http://')
        }
        asks = stack.enter_context(prometheus(folder, '1s', **targets))
        yield SimpleNamespace(
            home=home,
            api=f"http://{targets['api']}",
            prometheus=asks,
            alertmanager=alerts,
            got=got,
            running=running,
            start=process,
        )


def traffic(api: str) -> None:
    "Request forecasts, cached and computed, and one that does not exist."
    match = httpx.get(f'{api}/api/v1/predictions', timeout=30).json()[0]['match_id']
    for headers in ({}, {}, {'Cache-Control': 'no-cache'}):
        httpx.get(
            f'{api}/api/v1/predictions/{match}', headers=headers, timeout=30
        ).raise_for_status()
    assert httpx.get(f'{api}/api/v1/predictions/none', timeout=30).status_code == 404


# What cannot have data here, by why.
NO_DATA: dict[str, set[str]] = {
    'there is no Kafka': {
        'football_jobs: Consumer lag, A',
        'rule ConsumerLagging',
        'rule OutboxLagging',
    },
    'there are no workers': {
        'football_jobs: Online, A',
        'football_jobs: Tasks running, A',
        'rule WorkersGone',
    },
    'the database is SQLite': {'rule DatabaseConnectionsHigh'},
    'no run goes on': {'football_jobs: Running and stuck, A'},
    'the model reads no features': {'football_api: Time to read features, A'},
}


@needs_prometheus
def test_every_query_has_a_result(platform):
    expected = set().union(*NO_DATA.values())
    queries = all_queries()

    def answered() -> bool:
        traffic(platform.api)
        return without_data(platform.prometheus, queries) <= expected

    with suppress(AssertionError):
        wait_until(answered)  # what is missing is named below
    assert without_data(platform.prometheus, queries) == expected


@needs_prometheus
def test_a_wrong_query_is_an_error(platform):
    assert without_data(platform.prometheus, {'renamed': 'football_rolling_rsp'}) == {'renamed'}
    with pytest.raises(ValueError, match='parse error'):
        without_data(platform.prometheus, {'broken': 'sum by (league) (football_rolling_rps'})


def heard(platform: SimpleNamespace, name: str, status: str, **labels: str) -> bool:
    "Whether the webhook received an alert with these labels."
    wanted = ALERTS[name]['labels'] | labels | {'alertname': name}
    return any(
        alert['status'] == status and wanted.items() <= alert['labels'].items()
        for path, told in list(platform.got)
        if path == '/webhook'
        for alert in told['alerts']
    )


def slack(platform: SimpleNamespace, status: str, summary: str) -> bool:
    "Whether Slack received an alert."
    return any(
        f'{status}: {summary}' in str(told) for path, told in list(platform.got) if path == '/slack'
    )


@needs_prometheus
def test_a_failed_run_is_an_alert_until_a_run_succeeds(platform):
    wait_until(lambda: slack(platform, 'firing', 'The latest run of collect did not succeed'))
    wait_until(lambda: heard(platform, 'CleaningFailing', 'firing', job='clean'))
    run(platform.home, 'run', 'collect', '-p', 'seasons', "['2425', '2526']", '--force')
    wait_until(lambda: slack(platform, 'resolved', 'The latest run of collect did not succeed'))


@needs_prometheus
def test_an_unresolved_name_is_an_alert_once_cleaning_works(platform):
    def state() -> list[str]:
        every = httpx.get(f'{platform.alertmanager}/api/v2/alerts').json()
        return [
            one['status']['state']
            for one in every
            if one['labels']['alertname'] == 'UnresolvedNames'
        ]

    wait_until(lambda: 'suppressed' in state())
    assert not slack(platform, 'firing', '1 unresolved team names from bundled')
    engine = open_database(Settings(home=platform.home).database_dsn)
    record_run(engine, 'mended', 'clean', 'succeeded')
    wait_until(lambda: heard(platform, 'CleaningFailing', 'resolved', job='clean'))
    wait_until(lambda: slack(platform, 'firing', '1 unresolved team names from bundled'))
    with write_transaction(engine) as connection:
        connection.execute(
            schema.rejects.delete().where(
                schema.rejects.c.reason.startswith('unknown team: Nobody')
            )
        )
    engine.dispose()
    wait_until(
        lambda: (
            slack(platform, 'resolved', '0 names')
            or slack(platform, 'resolved', '1 unresolved team names from bundled')
        )
    )


@needs_prometheus
@pytest.mark.parametrize('name', ['api', 'exporter'])
def test_a_stopped_process_is_an_alert(platform, name):
    platform.running[name].close()
    wait_until(lambda: heard(platform, 'TargetDown', 'firing', job=name))
    platform.running[name] = platform.start(name)
    wait_until(lambda: heard(platform, 'TargetDown', 'resolved', job=name))
    assert query(platform.prometheus, f'up{{job="{name}"}}')[0]['value'][1] == '1'


@needs_prometheus
def test_no_champion_is_an_alert(platform):
    models = Settings(home=platform.home).models_folder
    shutil.copytree(models, away := models.with_name('away'))

    def alerted_without_models() -> bool:
        shutil.rmtree(models, ignore_errors=True)  # the server copies them from MLflow again
        return heard(platform, 'NoChampion', 'firing')

    wait_until(alerted_without_models)
    shutil.rmtree(models, ignore_errors=True)
    away.rename(models)
    wait_until(lambda: heard(platform, 'NoChampion', 'resolved'))


def alert_sent(platform: SimpleNamespace, name: str, status: str, labels: dict[str, str]) -> bool:
    "Whether an alert was sent: a warning to Slack, any other to the webhook."
    if ALERTS[name]['labels']['severity'] != 'warning':
        return heard(platform, name, status, **labels)
    title = f"{status.upper()}: {name} ({ALERTS[name]['labels']['component']})"
    return any(
        title in str(message) and all(value in str(message) for value in labels.values())
        for path, message in list(platform.got)
        if path == '/slack'
    )


@needs_prometheus
@pytest.mark.parametrize('name', FAULTS)
def test_a_fault_is_an_alert_until_it_is_repaired(platform, name):
    cause, labels = FAULTS[name]
    platform.got.clear()
    engine = open_database(Settings(home=platform.home).database_dsn)
    with cause(platform, engine):
        wait_until(lambda: alert_sent(platform, name, 'firing', labels))
    wait_until(lambda: alert_sent(platform, name, 'resolved', labels))
    engine.dispose()
