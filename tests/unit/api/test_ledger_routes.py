"The ledger over the API: heads, proofs, entries and receipts, on both databases, checked as a stranger checks them."

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select
from starlette.testclient import TestClient

from football_pred.api.app import create_app
from football_pred.api.ledger_routes import (
    ConsistencyProof,
    ForecastReceipt,
    LedgerEntries,
    LedgerHead,
)
from football_pred.api.middleware import FAST_PATH_PREFIX, send_fast_response
from football_pred.core import schema
from football_pred.core.database import open_database
from football_pred.core.ledger_checks import (
    TreeFrontier,
    check_receipt,
    leaf_hash,
    verify_consistency,
)
from football_pred.core.ledger_log import HeadFile, read_heads
from football_pred.core.settings import Settings
from football_pred.forecasts.sample_ledger import fill_sample_ledger

PROBLEM = 'application/problem+json'


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope='module', params=['sqlite', 'postgresql'])
def engine(request, tmp_path_factory) -> Iterator[Engine]:
    "A ledger with three heads, of 1 + 8, 17 and 31 entries."
    folder = tmp_path_factory.mktemp('ledger')
    if request.param == 'sqlite':
        engine = open_database(f'sqlite:///{folder}/football.db')
        fill_sample_ledger(engine, HeadFile(folder / 'ledger-heads.jsonl'), now())
        yield engine
        engine.dispose()
    else:
        from tests.support.services import new_database

        with new_database(request.getfixturevalue('postgresql_server')) as url:
            engine = open_database(url)
            fill_sample_ledger(engine, HeadFile(folder / 'ledger-heads.jsonl'), now())
            yield engine
            engine.dispose()


def client_of(url: str, home: Path) -> TestClient:
    app = create_app(Settings(home=home, database_url=SecretStr(url), rate_limit=''), now)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture(scope='module')
def client(engine, tmp_path_factory) -> TestClient:
    url = engine.url.render_as_string(hide_password=False)
    return client_of(url, tmp_path_factory.mktemp('home'))


def get(client: TestClient, path: str) -> Any:
    answer = client.get(f'/api/v1{path}')
    assert answer.status_code == 200, answer.text
    return answer.json()


def problem(client: TestClient, path: str, status: int) -> str:
    answer = client.get(f'/api/v1{path}')
    assert (answer.status_code, answer.headers['content-type']) == (status, PROBLEM), answer.text
    return answer.json()['detail']


def test_heads_are_those_of_the_database(engine, client):
    with engine.connect() as connection:
        heads = read_heads(connection)
    assert get(client, '/ledger/heads') == heads
    assert get(client, '/ledger/head') == heads[-1]
    assert get(client, f"/ledger/heads?after={heads[0]['size']}") == heads[1:]
    assert get(client, '/ledger/heads?after=31') == []
    assert get(client, '/ledger/heads?limit=1') == heads[:1]
    assert LedgerHead.model_validate(heads[-1]).size == 31


def test_consistency_is_proved_between_all_heads(client):
    heads = get(client, '/ledger/heads')
    sizes = [head['size'] for head in heads]
    assert sizes == [9, 17, 31]
    for i, first in enumerate(heads):
        for second in heads[i:]:
            path = f"/ledger/consistency?first={first['size']}&second={second['size']}"
            answer = ConsistencyProof.model_validate(get(client, path))
            elements = [bytes.fromhex(element) for element in answer.proof]
            roots = [bytes.fromhex(head['root']) for head in (first, second)]
            assert verify_consistency(answer.first, answer.second, elements, *roots)
            roots[0] = b'\0' * 32
            assert not verify_consistency(answer.first, answer.second, elements, *roots)


@pytest.mark.parametrize(
    ('query', 'detail'),
    [
        ('first=9&second=32', 'which has 31 entries'),
        ('first=17&second=9', 'first may not be larger than second'),
        ('first=0&second=9', 'greater than or equal to 1'),
        ('first=9', 'Field required'),
        ('first=9&second=x', 'valid integer'),
        (f'first=9&second={2**70}', 'less than'),
    ],
)
def test_sizes_beyond_the_log_are_refused(client, query, detail):
    assert detail in problem(client, f'/ledger/consistency?{query}', 422)


@pytest.mark.parametrize('limit', [1, 7, 100])
def test_entries_in_pages_have_the_root_of_the_head(client, limit):
    frontier = TreeFrontier()
    while True:
        page = LedgerEntries.model_validate(
            get(client, f'/ledger/entries?after={frontier.size}&limit={limit}')
        )
        assert (page.size, len(page.entries)) == (31, min(limit, 31 - frontier.size))
        if not page.entries:
            break
        for text in page.entries:
            frontier.append(leaf_hash(text.encode()))
    assert frontier.root().hex() == get(client, '/ledger/head')['root']


def test_entries_beyond_the_log_are_refused(client):
    assert 'the log has 31 entries' in problem(client, '/ledger/entries?after=32', 422)
    assert 'less than or equal to 1000' in problem(client, '/ledger/entries?limit=1001', 422)
    assert 'greater than or equal to 0' in problem(client, '/ledger/entries?after=-1', 422)


def test_every_forecast_has_a_receipt_that_is_checked_alone(engine, client):
    columns = schema.predictions.c
    with engine.connect() as connection:
        ids = list(connection.execute(select(columns.prediction_id)).scalars())
    assert len(ids) == 16
    for prediction_id in ids:
        receipt = get(client, f'/predictions/{prediction_id}/receipt')
        ForecastReceipt.model_validate(receipt)
        assert receipt['entry']['content']['prediction_id'] == prediction_id
        assert check_receipt(receipt).problems == []


def test_an_unknown_forecast_has_no_receipt(client):
    assert 'no forecast' in problem(client, f"/predictions/{'f' * 32}/receipt", 404)
    assert 'match pattern' in problem(client, '/predictions/E0-2526-arsenal/receipt', 422)


def test_the_route_of_a_match_is_not_taken_by_the_one_of_receipts(client):
    text = json.loads(get(client, '/ledger/entries')['entries'][1])
    answer = client.get(f"/api/v1/predictions/{text['content']['match_id']}")
    assert (answer.status_code, answer.json()['title']) == (503, 'Not ready')  # it wants a model


@pytest.mark.parametrize(('path', 'is_fast'), [('m', True), (f"{'0f' * 16}/receipt", False)])
def test_the_fast_path_answers_matches_and_no_receipts(path, is_fast):
    sent = []

    async def fast_path(match_id: str, bypass_cache: bool) -> tuple[bytes, bool]:
        return b'{}', False

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {'method': 'GET', 'path': f'{FAST_PATH_PREFIX}{path}', 'state': {}}
    assert asyncio.run(send_fast_response(fast_path, scope, {}, send)) == is_fast
    assert len(sent) == 2 * is_fast


def test_a_ledger_without_heads_has_none(tmp_path):
    engine = open_database(f'sqlite:///{tmp_path}/empty.db')
    engine.dispose()
    empty = client_of(f'sqlite:///{tmp_path}/empty.db', tmp_path / 'home')
    assert 'no forecast is sealed yet' in problem(empty, '/ledger/head', 404)
    assert get(empty, '/ledger/heads') == []
    assert get(empty, '/ledger/entries') == {'size': 0, 'entries': []}
    assert 'which has 0 entries' in problem(empty, '/ledger/consistency?first=1&second=1', 422)


def test_the_page_of_a_finished_match_links_its_receipts(client):
    text = json.loads(get(client, '/ledger/entries')['entries'][1])
    page = client.get(f"/matches/{text['content']['match_id']}", headers={'Accept': 'text/html'})
    assert page.status_code == 200, page.text
    links = re.findall(r'href="/api/v1(/predictions/[0-9a-f]{32}/receipt)"', page.text)
    assert len(links) == 1
    assert get(client, links[0])['entry'] == text


def test_routes_are_documented_with_examples(client):
    paths = client.get('/openapi.json').json()['paths']
    for path in (
        '/api/v1/ledger/head',
        '/api/v1/ledger/heads',
        '/api/v1/ledger/consistency',
        '/api/v1/ledger/entries',
        '/api/v1/predictions/{prediction_id}/receipt',
    ):
        assert paths[path]['get']['responses']['200']['content']['application/json']['schema']
    schemas = client.get('/openapi.json').json()['components']['schemas']
    for name in ('LedgerHead', 'ConsistencyProof', 'LedgerEntries', 'LoggedEntry'):
        assert schemas[name]['examples'], name
