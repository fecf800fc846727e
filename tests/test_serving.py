"The server, as a process on a loopback port, over the bundled data: what callers get, what they are told, what is stored."
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from football_pred.schema import predictions
from football_pred.store import open_database

COMMAND = Path(sys.executable).parent/'football-pred'


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([COMMAND, *arguments], env=os.environ | {'FOOTBALL_HOME': str(home)}, capture_output=True, text=True, check=True)


@pytest.fixture(scope='module')
def served(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    "A home with a trained model, and the address of a server over it."
    home = tmp_path_factory.mktemp('served')
    for job in ('collect', 'clean', 'features'): run(home, 'run', job)
    run(home, 'run', 'train', '-p', 'challenger', "''")
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    address = f'http://127.0.0.1:{port}'
    with (home/'log').open('w') as log:
        env = os.environ | {'FOOTBALL_HOME': str(home), 'FOOTBALL_RATE_LIMIT': '', 'FOOTBALL_REQUEST_BYTES': '600000'}
        process = subprocess.Popen([COMMAND, 'serve', '--port', str(port)], env=env, stderr=log, stdout=log)
        try:
            wait_until(lambda: answers(address))
            yield home, address
        finally:
            process.terminate()
            process.wait(20)


def answers(address: str) -> bool:
    try: return httpx.get(f'{address}/health/ready').status_code == 200
    except httpx.TransportError: return False


def wait_until(condition, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, 'waited in vain'
        time.sleep(0.1)


@pytest.fixture
def call(served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f'{served[1]}/api/v1', timeout=20) as client: yield client


def test_a_forecast_has_the_fields_of_old_and_is_stored_once(served, call):
    match_id = call.get('/predictions', params={'limit': 1}).json()[0]['match_id']
    with ThreadPoolExecutor(16) as pool:
        fresh = {'Cache-Control': 'no-cache'}
        found = list(pool.map(lambda i: httpx.get(f'{call.base_url}predictions/{match_id}', headers=fresh if i % 2 else {}), range(100)))
    assert {answer.status_code for answer in found} == {200}
    assert len({answer.content for answer in found}) == 1
    told = found[0].json()
    assert {'prediction_id', 'match_id', 'predicted_result', 'probabilities', 'confidence', 'created_at'} <= set(told)
    assert {'model', 'version', 'as_of', 'rates'} <= set(told)
    assert sum(told['probabilities'].values()) == pytest.approx(1, abs=1e-12)
    engine = open_database(f"sqlite:///{served[0]/'football.db'}")
    with engine.connect() as connection:
        count = connection.execute(select(func.count()).where(predictions.c.prediction_id == told['prediction_id'])).scalar_one()
    engine.dispose()
    assert count == 1
    assert httpx.get(f'{call.base_url}predictions/{match_id}').headers['x-cache'] == 'hit'
    said = json.loads(run(served[0], 'predict', told['home_team'], told['away_team'], '--league', 'E0', '--json').stdout)
    assert said['probabilities'] == told['probabilities']


@pytest.mark.parametrize(('path', 'status', 'says'), [
    ('/predictions/E0-2526-west-ham-wolve', 404, 'E0-2526-west-ham-wolves'),
    ('/predictions/E0-2425-arsenal-chelsea', 409, 'is finished'), ('/predictions?date=2026-13-01', 422, 'date'),
    ('/predictions?league=E9', 404, 'did you mean E0'), ('/teams/england-arsenl', 404, 'england-arsenal'),
    ('/leagues/X9/table', 404, 'no league'), ('/predictions?limit=0', 422, 'limit'), ("/matches?league=E0'--", 422, 'league'),
    ('/nowhere', 404, 'Not Found')])
def test_what_is_wrong_is_said(call, path, status, says):
    answer = call.get(path)
    assert (answer.status_code, answer.headers['content-type']) == (status, 'application/problem+json')
    assert says in answer.json()['detail']
    assert 'Traceback' not in answer.text


@pytest.mark.parametrize(('path', 'body', 'status'), [
    ('/predictions', {'league': 'E0', 'home_team': 'Arsenal', 'away_team': 'Arsenl'}, 404),
    ('/predictions', {'league': 'E0', 'home_team': 'Arsenal', 'away_team': 'Arsenal'}, 422),
    ('/predictions', {'league': 'E0', 'home_team': 7, 'away_team': 'Everton'}, 422),
    ('/predictions', {'league': 'E0', 'home_team': 'Ar\x00senal', 'away_team': 'Everton'}, 422),
    ('/predictions/batch', {'match_ids': ['E0-2526-west-ham-wolves']*10_001}, 422),
    ('/predictions/batch', {'match_ids': ['x'*100]*10_000}, 413)])
def test_bodies_are_checked(call, path, body, status): assert call.post(path, json=body).status_code == status


def test_reports_stay_in_their_folder(served):
    with socket.create_connection(('127.0.0.1', int(served[1].rsplit(':', 1)[1]))) as raw:
        raw.sendall(b'GET /reports/../football.db HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        assert re.match(rb'HTTP/1.1 40[04]', raw.recv(100))


def test_every_reading_route_answers(call):
    match_id = call.get('/predictions').json()[0]['match_id']
    for path in ('/leagues', '/matches', f'/matches/{match_id}', f'/matches/{match_id}/markets', '/leagues/E0/table', '/teams/england-arsenal',
                 '/scoreboard', '/runs', '/models'):
        assert call.get(path).status_code == 200, path
    grid = call.get(f'/matches/{match_id}/markets').json()
    assert sum(bet['win'] for bet in grid['markets'] if bet['market'] == 'outcome') == pytest.approx(1, abs=1e-9)
    assert {row['team'] for row in call.get('/leagues/E0/table').json()['finish']} >= {'Arsenal', 'Liverpool'}


def test_publishing_wants_an_admin_and_is_taken_in_without_a_restart(served, call):
    home = served[0]
    version = call.get('/models').json()[0]['version']
    asked = {'version': version, 'reason': 'as before'}
    assert call.post('/models/E0/promote', json=asked).status_code == 401
    tokens = {scope: run(home, 'keys', 'create', 'somebody', '--scope', scope).stdout.split()[-1] for scope in ('read', 'admin')}
    wait_until(lambda: call.post('/models/E0/promote', json=asked, headers={'X-API-Key': tokens['read']}).status_code == 403)
    done = call.post('/models/E0/promote', json=asked, headers={'X-API-Key': tokens['admin']})
    assert (done.status_code, done.json()['version']) == (200, version)
    key_id = run(home, 'keys', 'list').stdout.splitlines()[-1].split()[0]
    run(home, 'keys', 'revoke', key_id)
    wait_until(lambda: call.post('/models/E0/promote', json=asked, headers={'X-API-Key': tokens['admin']}).status_code == 401)


def test_the_log_is_json_with_ids(served, call):
    call.get('/leagues', headers={'X-Request-ID': 'asked-by-a-test'})
    def lines() -> list[str]: return [line for line in (served[0]/'log').read_text().splitlines() if 'asked-by-a-test' in line]
    wait_until(lambda: bool(lines()))
    assert json.loads(lines()[0])['status'] == 200
