"The server as a process over the bundled data: responses, problems, stored forecasts, failing components."

import json
import logging
import os
import re
import shlex
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import polars as pl
import pytest
from sqlalchemy import create_engine, func, select
from starlette.testclient import TestClient

from football_pred.api import forecast_service, record_routes
from football_pred.api.api_keys import create_key, revoke_key
from football_pred.api.app import create_app
from football_pred.core import schema
from football_pred.core.as_of import read_matches
from football_pred.core.database import open_database, read_frame, upsert, write_transaction
from football_pred.core.ledger_log import HeadFile
from football_pred.core.settings import Settings
from football_pred.forecasts.ledger import append_forecasts, settle_forecasts
from football_pred.forecasts.predict import forecast_fixtures
from football_pred.markets.prices import read_match_history
from football_pred.models.dixon_coles import DixonColes
from football_pred.models.serialization import pack_model, packed_model_version
from football_pred.registry.local_copies import LocalCopies
from football_pred.registry.registry import ChangeLog, Registry, connect_registry
from football_pred.registry.result_updates import read_known_results
from tests.support.live_forecasts import SURE_DRAW, forget_ledger, past_clock
from tests.support.server import run, serving, wait_until
from tests.support.services import free_port, run_redis

AS_OF = datetime(2026, 4, 1, tzinfo=UTC)  # time of the matches, in the bundled data
LATER = datetime(2026, 6, 1, tzinfo=UTC)  # when all of them are over
FRESH = {'Cache-Control': 'no-cache'}
PROBLEM = 'application/problem+json'


def now() -> datetime:
    return datetime.now(UTC)


def strict(answer: httpx.Response) -> Any:
    "JSON as other languages read it: without NaN."

    def refuse(name: str) -> None:
        raise ValueError(f'{name} is no JSON')

    return json.loads(answer.content, parse_constant=refuse)


def assert_problem(answer: httpx.Response, status: int, *texts: str) -> dict[str, Any]:
    "Check that a response is a problem which reveals nothing of the code, and return it."
    assert (answer.status_code, answer.headers['content-type']) == (status, PROBLEM), answer.text
    problem = strict(answer)
    assert problem['status'] == status
    assert problem['request_id'] == answer.headers['x-request-id']
    for text in texts:
        assert text in problem['detail'], problem
    for text in ('Traceback', '.py', 'sqlalchemy', 'psycopg'):
        assert text not in answer.text
    return problem


def registry_of(home: Path) -> Registry:
    settings = Settings(home=home)
    log = ChangeLog(open_database(settings.database_dsn), HeadFile(settings.ledger_heads_path), now)
    return connect_registry(**settings.registry_options, log=log)


@pytest.fixture(scope='module')
def home(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A home with two versions of the model, the first of them published."
    home = tmp_path_factory.mktemp('serving') / 'home'
    shutil.copytree(served_home, home)
    registry = registry_of(home)
    first = registry.champion('E0')
    history = read_match_history(registry.log.engine, AS_OF, ['E0']).filter(status='finished')
    registry.versions.register(
        'E0',
        DixonColes(half_life=200).fit(history, as_of=AS_OF),
        'E0-dixon-coles',
        first.trained_on | {'half_life': 200},
    )
    return home


@pytest.fixture(scope='module')
def tokens(home: Path) -> dict[str, str]:
    "A key of each scope."
    engine = open_database(Settings(home=home).database_dsn)
    keys = {
        scope: create_key(engine, 'somebody', scope, 'tests', now())[1]
        for scope in schema.API_KEY_SCOPES
    }
    engine.dispose()
    return keys


def confirmed(address: str) -> bool:
    "Check that every component answers, and the registry has confirmed the serving model."
    if httpx.get(f'{address}/health', timeout=120).json()['status'] != 'ok':
        return False
    return httpx.get(f'{address}/api/v1/models').json()[0]['source'] == 'registry'


@pytest.fixture(scope='module')
def server(home: Path, tokens: dict[str, str]) -> Iterator[str]:
    "A server that has confirmed its model."
    with serving(home, FOOTBALL_REQUEST_BYTES='600000') as address:
        wait_until(lambda: confirmed(address))
        yield address


@pytest.fixture
def call(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f'{server}/api/v1', timeout=120) as client:
        yield client


@pytest.fixture
def matches(call: httpx.Client) -> list[str]:
    return [entry['match_id'] for entry in call.get('/predictions').json()]


@contextmanager
def in_process(
    home: Path, clock: Callable[[], datetime] = lambda: AS_OF, **more: Any
) -> Iterator[TestClient]:
    "The same application in this process, so that a component can be made to fail."
    patient = {'rate_limit': '', 'request_seconds': 600}  # on a machine that is busy too
    app = create_app(Settings(home=home, **patient | more), now, clock)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


# Responses


def test_a_forecast_is_the_same_everywhere_and_stored_once(home, server, call, matches):
    match_id = matches[0]

    def ask(i: int) -> httpx.Response:
        return httpx.get(
            f'{(server, other)[i % 2]}/api/v1/predictions/{match_id}',
            headers=FRESH if i % 3 else {},
        )

    with serving(home) as other:
        wait_until(lambda: httpx.get(f'{other}/health/ready').status_code == 200)
        with ThreadPoolExecutor(20) as pool:
            responses = list(pool.map(ask, range(200)))
    assert {answer.status_code for answer in responses} == {200}
    forecast = responses[0].json()  # source is copy in a process that has not read the registry yet
    assert all(answer.json() | {'source': 'registry'} == forecast for answer in responses)
    original_fields = {
        'prediction_id',
        'match_id',
        'predicted_result',
        'probabilities',
        'confidence',
        'created_at',
    }
    assert set(forecast) == original_fields | {
        'league',
        'season',
        'kickoff',
        'home_team',
        'away_team',
        'rates',
        'model',
        'version',
        'as_of',
        'kind',
        'source',
    }
    assert forecast['kind'] == 'replay'  # the bundled matches were played long ago
    assert set(forecast['probabilities']) == {'home_win', 'draw', 'away_win'}
    assert sum(forecast['probabilities'].values()) == pytest.approx(1, abs=1e-12)
    assert (
        forecast['confidence']
        == max(forecast['probabilities'].values())
        == forecast['probabilities'][forecast['predicted_result']]
    )
    engine = open_database(Settings(home=home).database_dsn)
    with engine.connect() as connection:
        stored_rows = (
            select(func.count())
            .select_from(schema.predictions)
            .where(schema.predictions.c.prediction_id == forecast['prediction_id'])
        )
        assert connection.execute(stored_rows).scalar_one() == 1
    engine.dispose()
    assert [
        call.get(f'/predictions/{match_id}', headers=headers).headers['x-cache']
        for headers in ({}, FRESH)
    ] == ['hit', 'miss']
    predicted = json.loads(
        run(
            home,
            'predict',
            forecast['home_team'],
            forecast['away_team'],
            '--league',
            'E0',
            '--json',
        ).stdout
    )
    for name in ('probabilities', 'rates', 'confidence', 'predicted_result', 'version'):
        assert predicted[name] == forecast[name]
    pairing = call.post(
        '/predictions',
        json={
            'league': 'E0',
            'home_team': forecast['home_team'].upper(),
            'away_team': forecast['away_team'],
        },
    )
    assert pairing.json() == forecast


@pytest.fixture
def live_home(home: Path, tmp_path: Path) -> tuple[Path, HeadFile]:
    "A home with live forecasts of the spring, which are settled."
    copy = tmp_path / 'live'
    shutil.copytree(home, copy)
    engine = open_database(Settings(home=copy).database_dsn)
    heads = HeadFile(Settings(home=copy).ledger_heads_path)
    forget_ledger(engine, heads)
    spring = read_match_history(engine, LATER, ['E0']).filter(pl.col('kickoff') > AS_OF)
    model = registry_of(copy).champion('E0')
    forecasts = forecast_fixtures(model.model, spring)
    with past_clock(engine, AS_OF) as clock:
        source = (model.name, 'live', AS_OF, 'd', 'f', 'tests')
        append_forecasts(engine, heads, forecasts, *source, clock=clock)
    settle_forecasts(engine, heads, read_matches(engine, LATER), LATER, 'tests')
    engine.dispose()
    return copy, heads


def test_the_scoreboard_is_of_live_forecasts_unless_it_is_asked_for_others(live_home):
    "Replays of the same model and matches, all of them wrong, change no live figure."
    home, heads = live_home
    path = '/api/v1/scoreboard'
    with in_process(home, clock=lambda: LATER) as client:
        before = strict(client.get(path))
        page = client.get('/scoreboard').text
        assert [(row['kind'], row['model']) for row in before] == [('live', 'E0-dixon-coles')]
        assert strict(client.get(path, params={'kind': 'live'})) == before
        assert strict(client.get(path, params={'kind': 'replay'})) == []
        assert 'Replays' not in page.partition('<table')[0]
    engine = open_database(Settings(home=home).database_dsn)
    spring = read_match_history(engine, LATER, ['E0']).filter(pl.col('kickoff') > AS_OF)
    model = registry_of(home).champion('E0')
    wrong = forecast_fixtures(model.model, spring)
    wrong = wrong.with_columns(**SURE_DRAW)
    append_forecasts(engine, heads, wrong, model.name, 'late', AS_OF, 'd', 'f', 'tests')
    finished = read_matches(engine, LATER)
    assert settle_forecasts(engine, heads, finished, LATER, 'tests').height == spring.height
    with in_process(home, clock=lambda: LATER) as client:
        assert strict(client.get(path)) == before
        replays = strict(client.get(path, params={'kind': 'replay'}))
        assert [(row['kind'], row['matches']) for row in replays] == [('replay', spring.height)]
        assert replays[0]['rps'] > before[0]['rps']
        assert strict(client.get(path, params={'kind': 'all'})) == before + replays
        assert_problem(client.get(path, params={'kind': 'every'}), 422, 'kind')
        changed = client.get('/scoreboard').text
        assert changed.partition('<tbody>')[2] == page.partition('<tbody>')[2]
        match_id = spring['match_id'][0]
        entries = strict(client.get(f'/api/v1/matches/{match_id}'))['forecasts']
        assert [entry['kind'] for entry in entries] == ['replay', 'live']
        match_page = client.get(f'/matches/{match_id}').text
        assert match_page.count('class="replay"') == 1
        assert match_page.count('<td data-label="Kind">live</td>') == 1


def test_a_forecast_before_kickoff_is_live_and_a_pairing_has_no_kind(home, tmp_path):
    copy = tmp_path / 'future'
    shutil.copytree(home, copy)
    with in_process(copy) as client:  # its clock stands in the past
        for path in ('/', '/leagues/E0'):
            assert 'class="replay"' in client.get(path).text
    engine = open_database(Settings(home=copy).database_dsn)
    forget_ledger(engine, HeadFile(Settings(home=copy).ledger_heads_path))
    kickoff = now() + timedelta(days=3)
    match_id = 'E0-2526-arsenal-bournemouth'
    future = {'kickoff': kickoff, 'status': 'scheduled', 'date': kickoff.date()}
    future |= {'home_goals': None, 'away_goals': None, 'result_known_at': None}
    with write_transaction(engine) as connection:
        of_match = schema.matches.c.match_id == match_id
        connection.execute(schema.matches.update().where(of_match).values(**future))
    engine.dispose()
    with in_process(copy, clock=now) as client:
        forecast = strict(client.get(f'/api/v1/predictions/{match_id}'))
        assert forecast['kind'] == 'live'
        again = client.get(f'/api/v1/predictions/{match_id}')
        assert (again.headers['x-cache'], again.json()) == ('hit', forecast)
        names = {'league': 'E0', 'home_team': 'Chelsea', 'away_team': 'Arsenal'}
        pairing = strict(client.post('/api/v1/predictions', json=names))
        assert (pairing['match_id'], pairing['kind']) == (None, None)
        for path in ('/', f'/matches/{match_id}', '/leagues/E0'):
            assert 'class="replay"' not in client.get(path).text


def test_every_reading_route_answers(server, call, matches):
    match_id = matches[3]
    call.get(f'/predictions/{match_id}')
    results = {
        path: strict(call.get(path).raise_for_status())
        for path in (
            '/leagues',
            '/matches?league=E0&season=2526&limit=5',
            f'/matches/{match_id}',
            f'/matches/{match_id}/markets',
            '/leagues/E0/table',
            '/teams/england-arsenal',
            '/scoreboard',
            '/runs?job=train',
            '/models',
            '/predictions?league=E0&limit=2&offset=1',
        )
    }
    assert [
        entry['match_id'] for entry in results['/predictions?league=E0&limit=2&offset=1']
    ] == matches[1:3]
    match = results[f'/matches/{match_id}']
    assert match['features_source'] == 'online'
    assert match['features']['home_elo'] > 1000
    assert match['forecasts'][0]['model'] == 'E0-dixon-coles'
    assert match['forecasts'][0]['kind'] == 'replay'
    assert sum(
        bet['win']
        for bet in results[f'/matches/{match_id}/markets']['markets']
        if bet['market'] == 'outcome'
    ) == pytest.approx(1, abs=1e-9)
    finish = results['/leagues/E0/table']['finish']
    assert len(finish) == 20
    assert results['/teams/england-arsenal']['next'][0]['status'] == 'scheduled'
    assert results['/runs?job=train'][0]['state'] == 'succeeded'
    day = call.get('/predictions', params={'date': match['kickoff'][:10]}).json()
    assert match_id in {entry['match_id'] for entry in day}
    assert {entry['kickoff'][:10] for entry in day} == {match['kickoff'][:10]}
    report = httpx.get(server + results['/runs?job=train'][0]['report'])
    assert 'text/html' in report.headers['content-type']
    metrics = httpx.get(f'{server}/metrics').text
    for name in (
        'football_prediction_cache_hits_total',
        'football_predictions_made_total',
        'football_model_loaded',
    ):
        assert name in metrics


def test_a_batch_keeps_its_order_and_names_the_problem_of_each_match(call, matches):
    match_ids = [matches[1], 'E0-2526-no-such', matches[0], 'E0-2425-arsenal-chelsea', matches[1]]
    entries = strict(call.post('/predictions/batch', json={'match_ids': match_ids}))
    assert [entry['match_id'] for entry in entries] == match_ids
    assert entries[0] == entries[4]
    assert [entry.get('problem', {}).get('status') for entry in entries] == [
        None,
        404,
        None,
        409,
        None,
    ]
    repeated = call.post('/predictions/batch', json={'match_ids': matches * 100})
    assert len(repeated.json()) == 100 * len(matches)
    assert_problem(
        call.post('/predictions/batch', json={'match_ids': [f'E0-x-{i}' for i in range(101)]}),
        404,
        '101 of 101',
    )


def test_any_two_teams_are_forecast(call):
    pairing = {'league': 'E0', 'home_team': 'Arsenal', 'away_team': 'Liverpool', 'neutral': True}
    forecast, reverse = (
        call.post('/predictions', json=pairing | teams).json()
        for teams in ({}, {'home_team': 'Liverpool', 'away_team': 'Arsenal'})
    )
    assert forecast['match_id'] is None
    assert forecast['probabilities']['home_win'] == pytest.approx(
        reverse['probabilities']['away_win'], abs=1e-12
    )


def test_many_can_ask_for_features_at_once(call, matches):
    with ThreadPoolExecutor(16) as pool:
        matches_read = list(
            pool.map(lambda i: call.get(f'/matches/{matches[i % 8]}').json(), range(64))
        )
    assert {entry['features_source'] for entry in matches_read} == {'online'}
    assert len({(entry['match_id'], json.dumps(entry['features'])) for entry in matches_read}) == 8


def test_a_match_that_is_not_served_any_more_is_no_fault_of_the_store(server, call):
    past = call.get('/matches?limit=1').json()[0]['match_id']
    assert call.get(f'/matches/{past}').json()['features_source'] == 'table'
    assert httpx.get(f'{server}/health').json()['status'] == 'ok'


def test_the_lines_of_the_readme_are_routes_and_answer(server):
    page = (Path(__file__).parents[3] / 'README.md').read_text()
    lines = re.findall(r'^curl .*', page, re.M)
    routes, called = httpx.get(f'{server}/openapi.json').json()['paths'], set()
    for line in lines:
        path = urlsplit(next(word for word in shlex.split(line) if word.startswith('http'))).path
        method = 'post' if '--json' in line else 'get'
        command = [
            *shlex.split(line.replace('http://127.0.0.1:8000', server)),
            '-sS',
            '--fail-with-body',
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, (line, result.stdout, result.stderr)
        assert json.loads(result.stdout) or path.endswith('scoreboard'), line
        matching = [
            route
            for route, methods in routes.items()
            if method in methods and re.fullmatch(re.sub(r'{\w+}', '[^/]+', route), path)
        ]
        assert matching, line
        called |= {(method, route) for route in matching}
    assert len(called) >= 7


@pytest.mark.parametrize(
    'path',
    [
        '/',
        '/docs',
        '/openapi.json',
        '/reports/index.html',
        '/health',
        '/health/live',
        '/metrics',
        '/api/v1/leagues',
        '/api/v1/predictions/E0-2526-west-ham-wolves',
        '/api/v1/predictions?limit=3',
        '/api/v1/matches/none',
        '/nowhere',
    ],
)
def test_head_answers_as_get_does_without_the_body(server, path):
    with httpx.Client(base_url=server, timeout=120) as client:
        client.get(path)  # so that the second is in the cache as the third is
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b'')
        volatile = {'date', 'x-request-id', *(['content-length'] if path == '/metrics' else [])}
        assert {name: text for name, text in head.headers.items() if name not in volatile} == {
            name: text for name, text in get.headers.items() if name not in volatile
        }
        assert client.get('/health/live').status_code == 200  # the connection is still of use


def test_every_forecast_that_leaves_is_counted(home):
    with in_process(home) as client:

        def count(name: str = 'served') -> int:
            return int(
                sum(
                    map(
                        float,
                        re.findall(
                            rf'football_predictions_{name}_total{{.*}} (\S+)',
                            client.get('/metrics').text,
                        ),
                    )
                )
            )

        match_ids = [
            entry['match_id'] for entry in client.get('/api/v1/predictions?limit=5').json()
        ]
        assert count() == 5
        client.get(f'/api/v1/predictions/{match_ids[0]}')
        assert count() == 6
        client.post(
            '/api/v1/predictions/batch',
            json={'match_ids': [*match_ids[:3], match_ids[0], 'E0-2526-no-such']},
        )
        assert count() == count('stored') == 10
        client.post(
            '/api/v1/predictions',
            json={
                'league': 'E0',
                'home_team': 'Arsenal',
                'away_team': 'Liverpool',
                'neutral': True,
            },
        )
        assert (count(), count('stored')) == (11, 10)
        bars = client.get('/').text.count('class="bar"')
        assert bars > 50
        assert count() == 11 + bars
        client.get(f'/matches/{match_ids[0]}')
        assert count() == 12 + bars


# Problems


@pytest.mark.parametrize(
    ('path', 'status', 'texts'),
    [
        ('/predictions/E0-2526-west-ham-wolve', 404, 'E0-2526-west-ham-wolves'),
        ('/predictions/E0-2425-arsenal-chelsea', 409, 'is finished'),
        ('/predictions?date=2026-13-01', 422, 'date'),
        ('/predictions?date=soon', 422, 'date'),
        ('/predictions?league=E9', 404, 'did you mean E0'),
        ('/predictions?limit=0', 422, 'limit'),
        ('/predictions?limit=ten', 422, 'limit'),
        ('/predictions?offset=-1', 422, 'offset'),
        ('/matches/E0-2526-west-ham-wolve', 404, 'E0-2526-west-ham-wolves'),
        ('/matches/E0-2425-arsenal-chelsea/markets', 409, 'is finished'),
        ("/matches?league=E0'--", 422, 'league'),
        ("/matches/E0'; DROP TABLE matches; --", 422, 'match_id'),
        ('/matches?season=25', 422, 'season'),
        ('/teams/england-arsenl', 404, 'england-arsenal'),
        ('/teams/<script>alert(1)', 422, 'team_id'),
        ('/leagues/X9/table', 404, 'no league'),
        ('/runs?job=../../etc', 422, 'job'),
        ('/matches/%00', 422, 'match_id'),
        ('/teams/\u202emünchen', 422, 'team_id'),
        ('/predictions/' + 'x' * 5000, 422, 'match_id'),
        ('/nowhere', 404, 'Not Found'),
    ],
)
def test_problems_name_what_is_wrong(call, path, status, texts):
    assert_problem(call.get(path), status, texts)


@pytest.mark.parametrize(
    ('path', 'body', 'status', 'texts'),
    [
        (
            '/predictions',
            {'league': 'E0', 'home_team': 'Arsenal', 'away_team': 'Evertn'},
            404,
            'Everton',
        ),
        (
            '/predictions',
            {'league': 'E9', 'home_team': 'Arsenal', 'away_team': 'Everton'},
            404,
            'E0',
        ),
        (
            '/predictions',
            {'league': 'E0', 'home_team': 'Arsenal', 'away_team': 'Arsenal'},
            422,
            'cannot play itself',
        ),
        (
            '/predictions',
            {'league': 'E0', 'home_team': 7, 'away_team': 'Everton'},
            422,
            'home_team',
        ),
        (
            '/predictions',
            {'league': 'E0', 'home_team': 'Ar\x00senal', 'away_team': 'Everton'},
            422,
            'printable',
        ),
        (
            '/predictions',
            {'league': 'E0', 'home_team': '\ud800', 'away_team': 'Everton'},
            422,
            'home_team',
        ),
        (
            '/predictions',
            {'league': 'E0', 'home_team': "' OR 1=1 --", 'away_team': 'Everton'},
            404,
            'OR 1=1',
        ),
        (
            '/predictions',
            {'league': 'E0', 'home_team': 'Arsenal', 'away_team': 'Everton', 'odds': 2},
            422,
            'odds',
        ),
        ('/predictions', [], 422, 'body'),
        ('/predictions', {}, 422, 'league'),
        ('/predictions/batch', {'match_ids': ['E0-2526-west-ham-wolves'] * 10_001}, 422, '10000'),
        ('/predictions/batch', {'match_ids': []}, 422, 'match_ids'),
        ('/predictions/batch', {'match_ids': 'all'}, 422, 'match_ids'),
        ('/predictions/batch', {'match_ids': [None]}, 422, 'match_ids'),
        ('/predictions/batch', {'match_ids': ['x' * 100] * 10_000}, 413, '600,000'),
    ],
)
def test_bodies_are_checked(call, path, body, status, texts):
    assert_problem(
        call.post(path, content=json.dumps(body), headers={'Content-Type': 'application/json'}),
        status,
        texts,
    )


@pytest.mark.parametrize(
    ('content', 'status'),
    [(b'{"league":', 422), (b'{"league": "\xff"}', 400), (b'', 422), (b'[' * 20_000, 400)],
)
def test_what_is_no_json_is_refused(call, content, status):
    assert_problem(
        call.post('/predictions', content=content, headers={'Content-Type': 'application/json'}),
        status,
    )


def test_a_body_without_a_length_is_measured_too(call):
    assert_problem(
        call.post(
            '/predictions',
            content=(b' ' * 65536 for _ in range(20)),
            headers={'Content-Type': 'application/json'},
        ),
        413,
    )


def test_reports_stay_in_their_folder(server):
    port = int(server.rsplit(':', 1)[1])
    for path in (
        b'../football.db',
        b'%2e%2e/football.db',
        b'..%2ffootball.db',
        b'%00',
        b'....//football.db',
        b'//etc/passwd',
        b'x' * 5000,
    ):
        with socket.create_connection(('127.0.0.1', port)) as raw:
            raw.sendall(
                b'GET /reports/' + path + b' HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
            )
            assert re.match(rb'HTTP/1.1 40[04]', raw.recv(100)), path


def test_keys_open_what_they_are_for(home, server, call, tokens):
    engine, body = (
        open_database(Settings(home=home).database_dsn),
        {'version': '0' * 16, 'reason': 'because'},
    )

    def promote(key: str | None) -> httpx.Response:
        return call.post(
            '/models/E0/promote', json=body, headers={'X-API-Key': key} if key is not None else {}
        )

    assert_problem(promote(None), 401, 'admin')
    assert_problem(promote('fp_wrong'), 401, 'wrong or was revoked')
    assert_problem(call.get('/leagues', headers={'Authorization': 'Bearer fp_wrong'}), 401)
    assert_problem(promote(tokens['read']), 403, 'only read')
    assert_problem(promote(tokens['admin']), 404)
    assert_problem(
        call.post(
            '/models/E0/rollback', json={'reason': 'a\x00b'}, headers={'X-API-Key': tokens['admin']}
        ),
        422,
        'printable',
    )
    assert (
        call.get('/leagues', headers={'Authorization': f"Bearer {tokens['read']}"}).status_code
        == 200
    )
    key_id, token = create_key(engine, 'for a while', 'admin', 'tests', now())
    wait_until(lambda: promote(token).status_code == 404)
    revoke_key(engine, key_id, 'tests', now())
    wait_until(lambda: promote(token).status_code == 401)
    engine.dispose()


def test_readers_may_need_a_key_and_must_not_ask_too_often(home, tokens):
    with in_process(home, keys_wanted=True, rate_limit='5/minute') as client:
        read = {'X-API-Key': tokens['read']}
        assert [client.get('/api/v1/leagues', headers=read).status_code for _ in range(5)] == [
            200
        ] * 5
        late = client.get('/api/v1/leagues', headers=read)
        assert_problem(late, 429, '5 per 1 minute')
        assert 1 <= int(late.headers['retry-after']) <= 61
        assert_problem(client.get('/api/v1/leagues'), 401, 'X-API-Key')  # somebody else
        guesses = [
            client.get('/api/v1/leagues', headers={'X-API-Key': f'fp_{i}'}).status_code
            for i in range(6)
        ]
        assert guesses == [401] * 4 + [429] * 2
        assert client.get('/health/ready').status_code == 200


def test_everything_needs_a_key_when_keys_are_required(home, tokens):
    paths = [
        '/',
        '/docs',
        '/docs/static/swagger-ui.css',
        '/openapi.json',
        '/reports/',
        '/health',
        '/runs',
        '/api/v1/leagues',
        '/nowhere',
    ]
    with in_process(home, keys_wanted=True) as client:
        for path in paths:
            assert_problem(client.get(path), 401, 'X-API-Key')
            assert client.get(path, headers={'X-API-Key': tokens['read']}).status_code == (
                404 if path == '/nowhere' else 200
            )
            assert client.get(path, auth=('anybody', tokens['read'])).status_code == (
                404 if path == '/nowhere' else 200
            )
        assert {
            client.get(path).status_code for path in ('/health/live', '/health/ready', '/metrics')
        } == {200}
        browser = {'Accept': 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'}
        for response in (
            client.get('/', headers=browser),
            client.get('/', headers=browser, auth=('anybody', 'fp_wrong')),
        ):
            assert response.status_code == 401
            assert response.headers['www-authenticate'].startswith('Basic realm=')
            assert '<h1>' in response.text
            style = re.search(r'href="(/look-\w+\.css)"', response.text)[1]
            assert client.get(style).status_code == 200
        assert (
            client.get('/api/v1/leagues', headers=browser).headers['www-authenticate'] == 'Bearer'
        )
        body = {'version': '0' * 16, 'reason': 'because'}
        assert_problem(
            client.post('/api/v1/models/E0/promote', json=body, auth=('anybody', tokens['admin'])),
            403,
            'password',
        )
        assert_problem(
            client.post(
                '/api/v1/models/E0/promote', json=body, headers={'X-API-Key': tokens['admin']}
            ),
            404,
        )


def test_people_get_limits_as_a_page(home):
    browser = {'Accept': 'text/html,*/*;q=0.8'}
    with in_process(home, rate_limit='2/minute', request_bytes=10) as client:
        large = client.post('/', headers=browser, content=b'x' * 11)
        assert (large.status_code, large.headers['content-type']) == (
            413,
            'text/html; charset=utf-8',
        )
        client.get('/')
        late = client.get('/', headers=browser)
        assert (late.status_code, late.headers['content-type']) == (429, 'text/html; charset=utf-8')
        assert 'ask again in' in late.text
        assert late.headers['x-request-id']
        assert 1 <= int(late.headers['retry-after']) <= 61
        assert_problem(
            client.get('/', headers={'Accept': 'application/json, text/html;q=0.5'}), 429
        )


def test_what_takes_too_long_is_given_up(home, monkeypatch):
    waits = threading.Event()
    monkeypatch.setattr(record_routes, 'read_scoreboard', lambda *_: waits.wait(30))
    with in_process(home, request_seconds=0.3) as client:
        assert_problem(client.get('/api/v1/scoreboard'), 503, 'longer than 0.3 s')
        waits.set()
        assert client.get('/health/live').status_code == 200


@pytest.mark.parametrize(
    ('where', 'name', 'path', 'error'),
    [
        (record_routes, 'read_league_names', '/api/v1/leagues', RuntimeError),
        (record_routes, 'read_league_names', '/api/v1/leagues', TimeoutError),
        (
            forecast_service,
            'forecast_matches',
            '/api/v1/predictions/E0-2526-west-ham-wolves',
            RuntimeError,
        ),
    ],
)
def test_an_internal_error_is_only_in_the_log(home, monkeypatch, caplog, where, name, path, error):
    def broken(*_: Any) -> None:
        raise error('the secret of the house')

    monkeypatch.setattr(where, name, broken)
    with in_process(home) as client, caplog.at_level(logging.ERROR):
        answer = client.get(path, headers={'X-Request-ID': 'asked-by-a-test'} | FRESH)
    assert_problem(answer, 500, 'its log has the cause')
    assert 'secret' not in answer.text
    traces = [
        record
        for record in caplog.records
        if record.exc_info and 'secret' in str(record.exc_info[1])
    ]
    assert [record.about['request_id'] for record in traces] == ['asked-by-a-test']


def test_the_log_is_json_with_ids(home, call):
    call.get('/leagues', headers={'X-Request-ID': 'asked-by-a-test'})
    assert (
        call.get('/leagues', headers={'X-Request-ID': 'no id, "}'})
        .headers['x-request-id']
        .isalnum()
    )

    def lines() -> list[dict]:
        return [
            json.loads(line)
            for line in (home / 'log').read_text().splitlines()
            if line.startswith('{')
        ]

    wait_until(lambda: any(line.get('request_id') == 'asked-by-a-test' for line in lines()))
    line = next(line for line in lines() if line.get('request_id') == 'asked-by-a-test')
    assert {
        'status': 200,
        'path': '/api/v1/leagues',
        'method': 'GET',
        'level': 'info',
    }.items() <= line.items()
    assert not [line for line in lines() if 'trace' in line]


def test_results_move_the_answers(home):
    "Two weeks later, with the same model: what is served knows the results in between."
    answers = []
    for as_of in (AS_OF, AS_OF + timedelta(days=14)):
        with in_process(home, lambda moment=as_of: moment) as client:
            forecasts = {row['match_id']: row for row in client.get('/api/v1/predictions').json()}
            [model] = client.get('/api/v1/models').json()
            pairing = {'home_team': 'Arsenal', 'away_team': 'Chelsea', 'league': 'E0'}
            pair = client.post('/api/v1/predictions', json=pairing).json()
            markets = client.get(f'/api/v1/matches/{list(forecasts)[-1]}/markets').json()
            answers.append((forecasts, model, pair, markets))
    (early, early_model, early_pair, early_markets), (late, model, pair, markets) = answers
    database = open_database(Settings(home=home).database_dsn)
    known = read_known_results(database, ('E0',), AS_OF + timedelta(days=14))
    assert model['version'] == early_model['version']
    assert datetime.fromisoformat(early_model['as_of']) == AS_OF
    assert datetime.fromisoformat(model['as_of']) == known.last > AS_OF
    both = sorted(early.keys() & late.keys())
    assert len(both) > 30
    for match_id in both:
        assert datetime.fromisoformat(late[match_id]['as_of']) == known.last
        assert early[match_id]['prediction_id'] != late[match_id]['prediction_id']
        assert early[match_id]['probabilities'] != late[match_id]['probabilities']
    assert early_pair['probabilities'] != pair['probabilities']
    assert early_markets != markets


def test_a_match_that_kicks_off_is_no_longer_forecast(home):
    clock = [AS_OF]
    with in_process(home, lambda: clock[0]) as client:
        first, *others = client.get('/api/v1/predictions').json()
        later = [entry['match_id'] for entry in others if entry['kickoff'] > first['kickoff']][:3]
        clock[0] = datetime.fromisoformat(first['kickoff']) + timedelta(seconds=1)
        for path in (
            f"/api/v1/predictions/{first['match_id']}",
            f"/api/v1/matches/{first['match_id']}/markets",
        ):
            assert_problem(client.get(path, headers=FRESH), 409, 'kicked off')
        entries = client.post(
            '/api/v1/predictions/batch', json={'match_ids': [first['match_id'], *later]}
        ).json()
        assert [entry.get('problem', {}).get('status') for entry in entries] == [
            409,
            None,
            None,
            None,
        ]
        assert first['match_id'] not in {
            entry['match_id'] for entry in client.get('/api/v1/predictions').json()
        }


def test_responses_conform_to_the_openapi_document(server, tokens, capsys):
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis import GenerationMode, checks

    checks.load_all_checks()
    held_checks = checks.CHECKS.get_by_names(
        [
            'not_a_server_error',
            'status_code_conformance',
            'content_type_conformance',
            'response_schema_conformance',
            'response_headers_conformance',
            'negative_data_rejection',
        ]
    )
    statuses: Counter[int] = Counter()
    for result in schemathesis.openapi.from_url(f'{server}/openapi.json').get_all_operations():
        operation = result.ok()
        for mode in GenerationMode:
            if mode is GenerationMode.NEGATIVE and not {'parameters', 'requestBody'} & set(
                operation.definition.raw
            ):
                continue
            cases = operation.as_strategy(generation_mode=mode)

            @settings(
                max_examples=12,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=cases)
            def conforms(case: Any) -> None:
                answer = case.call(headers={'X-API-Key': tokens['admin']})
                statuses[answer.status_code] += 1
                case.validate_response(answer, checks=held_checks)

            conforms()
    with capsys.disabled():
        print(f'\nschemathesis: {statuses.total()} cases, {dict(sorted(statuses.items()))}')
    assert statuses.total() > 200


# Promotion and rollback


def test_promotions_and_rollbacks_under_load_lose_no_request(home, server, call, tokens, matches):
    registry, ends, seen_versions = registry_of(home), threading.Event(), Counter[tuple[int, str]]()
    first = call.get('/models').json()[0]['version']
    second = next(
        match_id for match_id in registry.versions.table('E0')['version'] if match_id != first
    )

    def load(i: int) -> None:
        with httpx.Client(base_url=f'{server}/api/v1', timeout=120) as client:
            while not ends.is_set():
                answer = client.get(f'/predictions/{matches[i]}', headers=FRESH if i % 2 else {})
                seen_versions[answer.status_code, answer.json().get('version', '')] += 1

    def answered(version: str) -> bool:
        return {
            call.get(f'/predictions/{match_id}').json()['version'] for match_id in matches[:4]
        } == {version}

    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(load, i) for i in range(4)]
        try:
            admin = {'X-API-Key': tokens['admin']}
            done = call.post(
                '/models/E0/promote',
                json={'version': second, 'reason': 'to be tried'},
                headers=admin,
            )
            assert done.status_code == 200, done.text
            assert done.json()['version'] == second
            assert answered(second)
            back = call.post(
                '/models/E0/rollback', json={'reason': 'it was not better'}, headers=admin
            )
            assert back.status_code == 200, back.text
            assert back.json()['version'] == first
            assert answered(first)
            registry.promote('E0', second, 'tests', 'from another process')
            wait_until(lambda: answered(second))
            registry.rollback('E0', 'tests', 'from another process')
            wait_until(lambda: answered(first))
        finally:
            ends.set()
        for thread in threads:
            thread.result()
    assert set(seen_versions) == {(200, first), (200, second)}
    assert seen_versions.total() > 100
    registry.log.engine.dispose()


def test_without_a_model_nothing_is_forecast_until_one_is_published(home, matches, tmp_path):
    bare = tmp_path / 'home'
    shutil.copytree(home, bare, ignore=shutil.ignore_patterns('models', 'reports', 'log'))
    registry = registry_of(bare)
    version = registry.versions.table('E0').filter(pl.col('aliases').list.contains('champion'))[
        'version'
    ][0]
    registry.mlflow.client.delete_registered_model_alias('E0', 'champion')
    with serving(bare) as address:
        for path in (
            '/health/ready',
            f'/api/v1/predictions/{matches[0]}',
            '/api/v1/predictions',
            '/api/v1/models',
        ):
            assert_problem(httpx.get(address + path), 503, 'no model is published yet')
        assert_problem(
            httpx.post(f'{address}/api/v1/predictions/batch', json={'match_ids': matches}), 503
        )
        assert httpx.get(f'{address}/api/v1/matches?limit=1').status_code == 200
        assert not httpx.get(f'{address}/health').json()['parts']['models']['up']
        registry.promote('E0', version, 'tests', 'as the job train does')
        wait_until(lambda: httpx.get(f'{address}/health/ready').status_code == 200)
        assert httpx.get(f'{address}/api/v1/predictions/{matches[0]}').json()['version'] == version
    registry.log.engine.dispose()


def test_an_altered_model_is_not_used_and_the_others_are(home, matches, tmp_path):
    altered = tmp_path / 'home'
    shutil.copytree(home, altered, ignore=shutil.ignore_patterns('reports', 'log', 'mlflow*'))
    copies = LocalCopies(altered / 'models')
    pointer = copies.read_pointer('E0', 'champion')
    content = copies.read_content(pointer['version'])
    other = pack_model(
        registry_of(altered).champion('E0').model, 'D1-dixon-coles', {'as_of': AS_OF.isoformat()}
    )
    copies.write_content(packed_model_version(other), other)
    copies.write_pointer(
        'D1',
        'champion',
        {'name': 'D1-dixon-coles', 'version': packed_model_version(other), 'number': '1'},
    )
    path = altered / 'models/versions' / f"{pointer['version']}.json"
    path.write_bytes(content.replace(b'0', b'1', 1))
    with serving(altered, FOOTBALL_MLFLOW_URL=f'http://127.0.0.1:{free_port()}') as address:
        parts = httpx.get(f'{address}/health').json()['parts']
        assert not parts['models']['up']
        assert pointer['version'] in parts['models']['reason']
        assert httpx.get(f'{address}/health/ready').json()['leagues'] == ['D1']
        assert_problem(
            httpx.get(f'{address}/api/v1/predictions/{matches[0]}'),
            503,
            'No model is published for league E0',
        )
        (altered / 'models/champion-D1.json').write_text('{"name": "D1-dix')  # cut off
        path.write_bytes(content)
        wait_until(
            lambda: (
                httpx.get(f'{address}/health')
                .json()['parts']['outlook']['reason']
                .startswith('JSONDecodeError')
            ),
            60,
        )
        (altered / 'models/champion-D1.json').unlink()
        wait_until(
            lambda: httpx.get(f'{address}/api/v1/predictions/{matches[0]}').status_code == 200, 60
        )
        answer = httpx.get(f'{address}/api/v1/predictions/{matches[0]}').json()
        assert (answer['version'], answer['source']) == (pointer['version'], 'copy')
        key = create_key(
            open_database(Settings(home=altered).database_dsn), 'somebody', 'admin', 'tests', now()
        )[1]
        rollback = {'json': {'reason': 'to be tried'}, 'headers': {'X-API-Key': key}, 'timeout': 30}
        wait_until(
            lambda: (
                httpx.post(f'{address}/api/v1/models/E0/rollback', **rollback).status_code != 401
            )
        )
        assert_problem(
            httpx.post(f'{address}/api/v1/models/E0/rollback', **rollback), 503, 'does not answer'
        )


# Components fail and recover


@pytest.fixture
def production(
    home: Path, postgresql, redis_port: int, tmp_path: Path
) -> Iterator[tuple[str, Path]]:
    "A server on PostgreSQL and Redis, and its home."
    from football_pred.features.feast_store import materialize_features, open_feature_store
    from football_pred.features.offline import FeatureStoreConfig

    production_home, sqlite_engine = (
        tmp_path / 'production',
        open_database(Settings(home=home).database_dsn),
    )
    shutil.copytree(
        home, production_home, ignore=shutil.ignore_patterns('football.db*', 'reports', 'log')
    )
    with write_transaction(postgresql) as connection:
        for table in (
            schema.snapshots,
            schema.leagues,
            schema.teams,
            schema.team_aliases,
            schema.matches,
            schema.api_keys,
        ):
            upsert(connection, table, read_frame(sqlite_engine, select(table)))
    sqlite_engine.dispose()
    redis = f'redis://127.0.0.1:{redis_port}'
    materialize_features(
        open_feature_store(FeatureStoreConfig(production_home / 'features', '', f'{redis}/1')),
        AS_OF,
        AS_OF - timedelta(days=30),
    )
    with serving(
        production_home,
        FOOTBALL_DATABASE_URL=postgresql.url.render_as_string(hide_password=False),
        FOOTBALL_CACHE_URL=f'{redis}/0',
        FOOTBALL_FEATURES_ONLINE_URL=f'{redis}/1',
    ) as address:
        wait_until(lambda: confirmed(address))
        yield address, production_home


@pytest.fixture
def redis_port() -> Iterator[int]:
    port = free_port()
    with run_redis(port):
        yield port


def killed(port: int) -> None:
    from redis import Redis

    with Redis(port=port) as client:
        pid = client.info()['process_id']
    os.kill(pid, 9)

    def gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(('127.0.0.1', port)) != 0

    wait_until(gone)


def test_what_goes_away_comes_back_without_a_restart(
    production, postgresql, postgresql_server, redis_port, matches
):
    from football_pred.features.feast_store import materialize_features, open_feature_store
    from football_pred.features.offline import FeatureStoreConfig

    (address, home), name = production, postgresql.url.database
    served, api = (
        create_engine(postgresql_server, isolation_level='AUTOCOMMIT'),
        f'{production[0]}/api/v1',
    )

    def ask(path: str, **headers: str) -> httpx.Response:
        return httpx.get(api + path, headers=headers, timeout=120)

    def part(name: str) -> dict:
        return httpx.get(f'{address}/health', timeout=120).json()['parts'][name]

    first, other, third = matches[:3]
    assert [ask(f'/predictions/{first}').headers['x-cache'] for _ in range(2)] == ['miss', 'hit']
    assert ask(f'/matches/{first}').json()['features_source'] == 'online'

    # the database
    with served.connect() as admin:
        admin.exec_driver_sql(f'ALTER DATABASE {name} ALLOW_CONNECTIONS false')
        admin.exec_driver_sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        for path in (
            f'/predictions/{other}',
            f'/matches/{first}',
            '/matches',
            '/leagues',
            '/leagues/E0/table',
            '/teams/england-arsenal',
            '/scoreboard',
            '/runs',
            '/predictions/E0-2526-no-such',
        ):
            answer = ask(path)
            assert_problem(
                answer,
                503,
                'the database does not answer'
                if path.endswith(other)
                else 'database does not answer',
            )
            assert answer.headers['retry-after'] == '5'
        assert_problem(
            httpx.post(
                f'{api}/predictions',
                json={'league': 'E0', 'home_team': 'Arsenal', 'away_team': 'Everton'},
            ),
            503,
        )
        assert ask(f'/predictions/{first}').headers['x-cache'] == 'hit'
        assert (
            ask(f'/predictions/{first}', **FRESH).status_code == 200
        )  # it stands in the ledger already
        assert httpx.get(f'{address}/health/ready').status_code == 200
        down = part('database')
        assert not down['up']
        assert name in down['reason']
        admin.exec_driver_sql(f'ALTER DATABASE {name} ALLOW_CONNECTIONS true')
    wait_until(lambda: ask(f'/predictions/{other}').status_code == 200)
    wait_until(lambda: part('database')['up'])

    # the cache and the online features, which are one server here
    killed(redis_port)
    with ThreadPoolExecutor(16) as pool:
        responses = list(
            pool.map(lambda i: ask(f'/predictions/{(first, other, third)[i % 3]}'), range(48))
        )
    assert {answer.status_code for answer in responses} == {200}
    assert 'ConnectionError' in part('cache')['reason']
    degraded = ask(f'/matches/{first}')
    assert (degraded.status_code, degraded.json()['features_source']) == (200, 'table')
    assert degraded.elapsed.total_seconds() < 5
    assert degraded.json()['features']['home_elo'] > 1000
    assert not part('feature_store')['up']
    with run_redis(redis_port):
        wait_until(lambda: part('cache')['up'])
        assert [ask(f'/predictions/{first}').headers['x-cache'] for _ in range(2)] == [
            'miss',
            'hit',
        ]
        materialize_features(
            open_feature_store(
                FeatureStoreConfig(home / 'features', '', f'redis://127.0.0.1:{redis_port}/1')
            ),
            AS_OF,
            AS_OF - timedelta(days=30),
        )
        wait_until(lambda: ask(f'/matches/{first}').json()['features_source'] == 'online')
        assert httpx.get(f'{address}/health').json()['status'] == 'ok'
    with postgresql.connect() as connection:
        ids = connection.execute(select(schema.predictions.c.prediction_id)).scalars().all()
    assert len(ids) == len(set(ids)) == 3
    served.dispose()
