"What the rules and dashboards ask, and Prometheus and Alertmanager as processes that read the files of the project."

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import promql_parser as promql
import yaml

from football_pred.reporting.dashboard_plots import expand_variables
from tests.support.server import started
from tests.support.services import free_port

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / 'monitoring'
RULES = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((MONITORING / 'prometheus/rules').glob('*.yml'))
}
BOARDS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((MONITORING / 'grafana/dashboards').glob('*.json'))
}


def rules(kind: str) -> list[dict[str, Any]]:
    "Every rule of a kind: alert or record."
    return [
        rule
        for file in RULES.values()
        for group in file['groups']
        for rule in group['rules']
        if kind in rule
    ]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    "Panels of a dashboard, without the lines between them."
    every = [inner for one in board['panels'] for inner in (one, *one.get('panels', []))]
    return [one for one in every if one['type'] != 'row']


def filled(expression: str) -> str:
    return expand_variables(expression, '1m')


def asked() -> dict[str, str]:
    "Every query of every panel and rule, by a name."
    found = {
        f"{name}: {panel['title']}, {target['refId']}": filled(target['expr'])
        for name, board in BOARDS.items()
        for panel in panels(board)
        for target in panel['targets']
    }
    return found | {
        f"rule {rule.get('alert') or rule['record']}": rule['expr'] for rule in rules('expr')
    }


def selectors(expression: str) -> list[promql.VectorSelector]:
    "What a query reads."
    found: list[promql.VectorSelector] = []

    def walk(node: Any) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)
        elif isinstance(node, promql.MatrixSelector):
            walk(node.vector_selector)
        elif isinstance(node, promql.BinaryExpr):
            [walk(one) for one in (node.lhs, node.rhs)]
        elif isinstance(node, promql.Call):
            [walk(one) for one in node.args]
        elif hasattr(node, 'expr'):
            walk(node.expr)

    walk(promql.parse(filled(expression)))
    return found


def query(address: str, expression: str) -> list[dict[str, Any]]:
    "What Prometheus answers; what it says when it cannot, as an error."
    told = httpx.post(f'{address}/api/v1/query', data={'query': expression}, timeout=30).json()
    if told['status'] != 'success':
        raise ValueError(f"{told['error']}: {expression}")
    return told['data']['result']


def without_data(address: str, questions: dict[str, str]) -> set[str]:
    """Names of the queries that find nothing. An alert finds nothing while all is well: there, each series that it reads must be found."""
    alerts = {f"rule {rule['alert']}" for rule in rules('alert')}

    def found(name: str, expression: str) -> bool:
        if name not in alerts:
            return bool(
                query(address, expression.replace('offset 1h', 'offset 2s'))
            )  # as rendered below
        return all(
            query(address, re.sub(r' offset \S+', '', one.prettify()))
            for one in selectors(expression)
        )

    return {name for name, expression in questions.items() if not found(name, expression)}


def render_rules(folder: Path) -> None:
    "The rules with nothing to wait for: `for` is a second, what is looked back an hour for is looked back two seconds, groups run each second."
    folder.mkdir()
    for path in (MONITORING / 'prometheus/rules').glob('*.yml'):
        text = re.sub(
            r'\bfor: \w+', 'for: 1s', re.sub(r'\boffset 1h', 'offset 2s', path.read_text())
        )
        (folder / path.name).write_text(re.sub(r'\binterval: \w+', 'interval: 1s', text))


def fill_alertmanager(folder: Path, **variables: str) -> Path:
    "The template as the container fills it in; texts of messages are read from the checkout."
    done = subprocess.run(
        [
            'awk',
            '-f',
            MONITORING / 'alertmanager/fill.awk',
            MONITORING / 'alertmanager/alertmanager.yml',
        ],
        capture_output=True,
        text=True,
        check=True,
        env={'PATH': os.defpath, **variables},
    )
    path = folder / 'alertmanager.yml'
    path.write_text(done.stdout.replace('/etc/alertmanager', str(MONITORING / 'alertmanager')))
    return path


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    "A server that takes everything it is sent: its address, and path and content of each message."
    got: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(
                (self.path, json.loads(self.rfile.read(int(self.headers['Content-Length']))))
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'ok')

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}', got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def alertmanager(folder: Path, address: str) -> Iterator[str]:
    "Alertmanager that tells the receiver at an address, without waiting for more of a group; its own address."
    path = fill_alertmanager(
        folder,
        ALERT_WEBHOOK_URL=f'{address}/webhook',
        ALERT_SLACK_URL=f'{address}/slack',
        ALERT_SLACK_CHANNEL='#football',
    )
    port = free_port()
    path.write_text(re.sub(r'\b(group_wait|group_interval): \w+', r'\1: 1s', path.read_text()))
    command = [
        'prometheus-alertmanager',
        f'--config.file={path}',
        f'--storage.path={folder}/alertmanager',
        '--cluster.listen-address=',
        f'--web.listen-address=127.0.0.1:{port}',
    ]
    with (
        (folder / 'alertmanager.log').open('w') as log,
        started(command, f'http://127.0.0.1:{port}/-/ready', stdout=log, stderr=log),
    ):
        yield f'http://127.0.0.1:{port}'


@contextmanager
def prometheus(folder: Path, interval: str, **targets: str) -> Iterator[str]:
    "Prometheus with the project's own file, but for the interval, where its targets are, and that jobs without a target are left out; its address."
    port, config = (
        free_port(),
        yaml.safe_load((MONITORING / 'prometheus/prometheus.yml').read_text()),
    )
    targets['prometheus'] = f'127.0.0.1:{port}'
    config['global'] = {
        'scrape_interval': interval,
        'evaluation_interval': interval,
        'scrape_timeout': interval,
    }
    config['scrape_configs'] = [
        job | {'static_configs': [{'targets': [targets[job['job_name']]]}]}
        for job in config['scrape_configs']
        if job['job_name'] in targets
    ]
    if 'alertmanager' in targets:
        config['alerting']['alertmanagers'][0]['static_configs'][0]['targets'] = [
            targets['alertmanager']
        ]
    else:
        del config['alerting']
    render_rules(folder / 'rules')
    (folder / 'prometheus.yml').write_text(yaml.safe_dump(config))
    command = [
        'prometheus',
        f'--config.file={folder}/prometheus.yml',
        f'--storage.tsdb.path={folder}/data',
        f'--web.listen-address=127.0.0.1:{port}',
    ]
    with (
        (folder / 'prometheus.log').open('w') as log,
        started(command, f'http://127.0.0.1:{port}/-/ready', stdout=log, stderr=log),
    ):
        yield f'http://127.0.0.1:{port}'
