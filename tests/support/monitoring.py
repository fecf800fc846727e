"Queries of rules and dashboards, and Prometheus and Alertmanager with the files of the project."

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
    "Panels of a dashboard, without its rows."
    all_panels = []
    for panel in board['panels']:
        all_panels += [panel, *panel.get('panels', [])]
    return [panel for panel in all_panels if panel['type'] != 'row']


def filled(expression: str) -> str:
    return expand_variables(expression, '1m')


def all_queries() -> dict[str, str]:
    "Every query of every panel and rule, by name."
    queries = {
        f"{name}: {panel['title']}, {target['refId']}": filled(target['expr'])
        for name, board in BOARDS.items()
        for panel in panels(board)
        for target in panel['targets']
    }
    return queries | {
        f"rule {rule.get('alert') or rule['record']}": rule['expr'] for rule in rules('expr')
    }


def selectors(expression: str) -> list[promql.VectorSelector]:
    "Selectors of a query."
    vectors: list[promql.VectorSelector] = []

    def walk(node: Any) -> None:
        if isinstance(node, promql.VectorSelector):
            vectors.append(node)
        elif isinstance(node, promql.MatrixSelector):
            walk(node.vector_selector)
        elif isinstance(node, promql.BinaryExpr):
            walk(node.lhs)
            walk(node.rhs)
        elif isinstance(node, promql.Call):
            for argument in node.args:
                walk(argument)
        elif hasattr(node, 'expr'):
            walk(node.expr)

    walk(promql.parse(filled(expression)))
    return vectors


def query(address: str, expression: str) -> list[dict[str, Any]]:
    "Result of a query of Prometheus; its error raises ValueError."
    url = f'{address}/api/v1/query'
    response = httpx.post(url, data={'query': expression}, timeout=30).json()
    if response['status'] != 'success':
        raise ValueError(f"{response['error']}: {expression}")
    return response['data']['result']


def without_data(address: str, queries: dict[str, str]) -> set[str]:
    """Names of the queries without a result.

    The query of an alert is empty while it does not fire: each of its selectors must have one.
    """
    alerts = {f"rule {rule['alert']}" for rule in rules('alert')}

    def has_data(name: str, expression: str) -> bool:
        if name not in alerts:
            return bool(
                query(address, expression.replace('offset 1h', 'offset 2s'))
            )  # as rendered below
        return all(
            query(address, re.sub(r' offset \S+', '', selector.prettify()))
            for selector in selectors(expression)
        )

    return {name for name, expression in queries.items() if not has_data(name, expression)}


def render_rules(folder: Path) -> None:
    "Write the rules with short times: `for` and intervals 1 s, `offset 1h` 2 s."
    folder.mkdir()
    for path in (MONITORING / 'prometheus/rules').glob('*.yml'):
        text = re.sub(
            r'\bfor: \w+', 'for: 1s', re.sub(r'\boffset 1h', 'offset 2s', path.read_text())
        )
        (folder / path.name).write_text(re.sub(r'\binterval: \w+', 'interval: 1s', text))


def fill_alertmanager(folder: Path, **variables: str) -> Path:
    "Fill in the template as the container does; message templates are those of the checkout."
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
    "Run a server that accepts every message: its address, and path and content of each message."
    messages: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(
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
        yield f'http://127.0.0.1:{server.server_port}', messages
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def alertmanager(folder: Path, address: str) -> Iterator[str]:
    "Run Alertmanager with a receiver at an address, without group delays; its own address."
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
    "Run Prometheus with the project's file, with another interval and other targets; its address."
    port = free_port()
    config = yaml.safe_load((MONITORING / 'prometheus/prometheus.yml').read_text())
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
