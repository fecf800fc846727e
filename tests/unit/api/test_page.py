"Web pages in Chromium: narrow screens, both colour schemes, keyboard, hostile names, empty databases."

import re
import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from sqlalchemy import text

from football_pred.core.database import open_database
from tests.support.server import run, serving, wait_until

CHROMIUM = shutil.which('chromium')
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason='chromium is not installed: apt-get install chromium'
)
QUIET = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
]
HOSTILE = '''<img src=x onerror=alert(1)>&amp;"'{{7*7}} ''' + 'W' * 90
MATCH = 'E0-2526-west-ham-wolves'
PAGES = (
    '/',
    '/?league=E0',
    f'/matches/{MATCH}',
    '/matches/E0-2425-arsenal-chelsea',
    '/leagues/E0',
    '/scoreboard',
    '/scoreboard?kind=all',
    '/runs',
)
HTML = {'Accept': 'text/html'}


@pytest.fixture(scope='module')
def home(served_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A copy in which an upcoming fixture is played by a team whose name is HTML."
    home = tmp_path_factory.mktemp('page') / 'home'
    shutil.copytree(served_home, home)
    engine = open_database(f"sqlite:///{home / 'football.db'}")
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO teams (country, team) VALUES ('England', :name)"), {'name': HOSTILE}
        )
        changed = connection.execute(
            text('UPDATE matches SET home_team = :name WHERE match_id = :match'),
            {'name': HOSTILE, 'match': MATCH},
        )
        assert changed.rowcount == 1
    engine.dispose()
    return home


@pytest.fixture(scope='module')
def site(home: Path) -> Iterator[str]:
    with serving(home) as address:
        wait_until(lambda: httpx.get(f'{address}/health/ready').status_code == 200)
        yield address


@pytest.fixture(scope='module')
def settled_site(home: Path, site: str) -> Iterator[str]:
    "The same home after the season, with its forecasts settled."
    assert httpx.get(f'{site}/').status_code == 200  # stores the forecasts
    run(home, 'run', 'settle', '--as-of', '2026-05-25T00:00Z')
    with serving(home, '--as-of', '2026-05-25T01:00Z') as address:
        wait_until(lambda: httpx.get(f'{address}/health/ready').status_code == 200)
        yield address


@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    "Open a page; its requests and console messages are collected on it."
    contexts = []

    def opened(address: str, width: int = 360, scheme: str = 'light'):
        contexts.append(
            context := browser.new_context(
                viewport={'width': width, 'height': 800}, color_scheme=scheme
            )
        )
        page = context.new_page()
        page.asked, page.complaints = [], []
        page.on('request', lambda request: page.asked.append(request.url))
        page.on('console', lambda message: page.complaints.append(message.text))
        page.on('pageerror', lambda error: page.complaints.append(str(error)))
        page.on('dialog', lambda dialog: (page.complaints.append(dialog.message), dialog.dismiss()))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()


@needs_chromium
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('path', PAGES)
def test_a_page_fits_a_phone_and_loads_nothing_else(site, visit, path, scheme):
    page = visit(site + path, scheme=scheme)
    assert page.complaints == []
    assert {
        url.split('/look-')[0].split('?')[0].rstrip('/')
        for url in page.asked
        if not url.startswith('data:')
    } <= {site, (site + path).split('?')[0].rstrip('/')}
    assert page.evaluate('document.documentElement.scrollWidth') <= 360
    assert page.locator('h1').count() == 1
    levels = page.locator('h1, h2, h3').evaluate_all('all => all.map(one => +one.tagName[1])')
    assert all(lower - upper <= 1 for upper, lower in pairwise(levels)), levels
    assert page.locator('main, header, nav').count() >= 3
    assert page.title().endswith(' · football_pred')


CONTRAST = '''() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const f = c => (c /= 255) <= .03928 ? c/12.92 : ((c + .055)/1.055)**2.4;
  const light = ([r, g, b]) => .2126*f(r) + .7152*f(g) + .0722*f(b);
  const over = (top, below) => { const a = top[3] ?? 1; return [0, 1, 2].map(i => a*top[i] + (1 - a)*below[i]); };
  const back = one => rgb(getComputedStyle(one).backgroundColor);
  const ground = one => { const own = back(one); return (own[3] ?? 1) === 1 ? own : over(own, ground(one.parentElement)); };
  const shown = [...document.querySelectorAll('main *, header *')].filter(
    one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && one.checkVisibility());
  return shown.map(one => { const [a, b] = [light(rgb(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    return [(a + .05)/(b + .05), one.textContent.trim().slice(0, 40)]; }).sort((x, y) => x[0] - y[0])[0]; }'''


@needs_chromium
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('path', PAGES)
def test_text_can_be_read_in_both_schemes(site, visit, path, scheme):
    page = visit(site + path, 1280, scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(ground) > 128) == (scheme == 'light')
    least, where = page.evaluate(CONTRAST)
    assert least >= 4.5, where


@needs_chromium
def test_bars_sum_to_a_hundred(site, visit):
    page = visit(f'{site}/')
    bars = page.locator('.bar').evaluate_all(
        "all => all.map(bar => [...bar.children].map(part => parseFloat(part.getAttribute('width'))))"
    )
    percentages = page.locator('.percents').evaluate_all(
        "all => all.map(one => [...one.children].map(part => parseInt(part.textContent)))"
    )
    assert len(bars) == len(percentages) > 50
    assert {sum(parts) for parts in bars + percentages} == {100}
    assert bars == percentages
    labels = page.locator('.bar').evaluate_all(
        "all => all.map(bar => bar.getAttribute('aria-label'))"
    )
    assert [
        [int(share) for share in re.findall(r' (\d+) %', label)] for label in labels
    ] == percentages
    widths = page.locator('.bar').first.evaluate(
        "bar => [bar, ...bar.children].map(part => part.getBoundingClientRect().width)"
    )
    assert widths[0] == pytest.approx(sum(widths[1:]), abs=0.5)


@needs_chromium
def test_the_keyboard_reaches_every_link(site, visit):
    page = visit(f'{site}/', 1280)
    reached = []
    for _ in range(7):
        page.keyboard.press('Tab')
        reached.append(page.evaluate("document.activeElement.getAttribute('href')"))
        box = page.evaluate(
            '(({left, right, width}) => [left, right, width])(document.activeElement.getBoundingClientRect())'
        )
        assert box[0] >= 0, 'what has the focus is seen'
        assert page.evaluate('getComputedStyle(document.activeElement).outlineStyle') == 'solid'
    assert reached == [
        '#content',
        '/',
        '/scoreboard',
        '/runs',
        '/reports/',
        '/leagues/E0',
        f'/matches/{MATCH}',
    ]
    page.keyboard.press('Enter')
    page.wait_for_url(f'**/matches/{MATCH}')
    page.keyboard.press('Tab')
    page.keyboard.press('Enter')
    assert page.evaluate('document.activeElement.id') == 'content'


@needs_chromium
def test_a_hostile_name_is_only_a_name(site, visit):
    for path in ('/', f'/matches/{MATCH}', '/leagues/E0'):
        page = visit(site + path)
        assert HOSTILE in page.locator('main').inner_text()
        assert page.locator('main img, main script').count() == 0
        assert page.complaints == []
        assert page.evaluate('document.documentElement.scrollWidth') <= 360


@needs_chromium
def test_a_finished_match_has_scores(settled_site, visit):
    page = visit(f'{settled_site}/matches/{MATCH}')
    assert re.search(r'^\d+ \N{EN DASH} \d+$', page.locator('.score').inner_text())
    ledger = page.locator('.runs tbody tr').first.inner_text()
    assert re.search(r'(✓ yes|✗ no)', ledger)
    assert re.search(r'0\.\d{3}', ledger)
    assert re.search(r'[0-9a-f]{64}', ledger)
    assert page.locator('.runs tbody tr .replay').count() == page.locator('.runs tbody tr').count()
    assert 'replay' in ledger
    empty = visit(f'{settled_site}/scoreboard').locator('#empty')
    text = 'No live forecast is settled yet; '
    assert re.match(rf'{text}\d+ replays\.', empty.inner_text())
    board = visit(f'{settled_site}/scoreboard')
    board.locator('#empty a').click()
    board.wait_for_url('**/scoreboard?kind=replay')
    assert board.locator('tbody tr .replay').count() == board.locator('tbody tr').count() == 1
    assert board.locator('[aria-current]', has_text='Replays').count() == 1
    assert 'no odds available' in board.locator('table').inner_text()
    assert 'the bundled data have no odds' in board.locator('main').inner_text()
    assert board.evaluate('document.documentElement.scrollWidth') <= 360
    assert 'No fixtures' in visit(f'{settled_site}/').locator('main').inner_text()


@needs_chromium
def test_the_documentation_needs_no_other_host(site, visit):
    page = visit(f'{site}/docs', 1280)
    page.get_by_text('/api/v1/predictions/{match_id}').wait_for()
    page.get_by_role('button', name='get /api/v1/leagues', exact=True).click()
    page.get_by_role('button', name='Try it out').click()
    page.get_by_role('button', name='Execute').click()
    page.locator('.live-responses-table .microlight', has_text='E0-dixon-coles').wait_for()
    assert page.complaints == []
    assert len(page.asked) >= 5
    assert {urlsplit(url).netloc for url in page.asked if not url.startswith('data:')} == {
        urlsplit(site).netloc
    }


@needs_chromium
def test_a_browser_asks_for_the_key(home, browser):
    key = run(home, 'keys', 'create', 'a person').stdout.splitlines()[-1]
    with serving(home, FOOTBALL_KEYS_WANTED='true') as address:
        wait_until(lambda: httpx.get(f'{address}/health/ready').status_code == 200)
        for password, status in (('fp_wrong', 401), (key, 200)):
            context = browser.new_context(
                http_credentials={'username': 'anybody', 'password': password}
            )
            page, answers = context.new_page(), []
            page.on('response', lambda answer, seen=answers: seen.append(answer.status))
            assert page.goto(address).status == status
            assert set(answers) == {status, 200}  # the style is there for those who are refused too
            context.close()


def test_every_link_leads_somewhere(site):
    visited, paths = set(), ['/', '/runs']
    while paths:
        if (path := paths.pop()) in visited:
            continue
        visited.add(path)
        answer = httpx.get(site + path, headers=HTML, follow_redirects=True)
        assert answer.status_code == 200, path
        if not path.startswith('/reports/'):
            paths += [
                urljoin(path, link).split('#')[0]
                for link in re.findall(r'href="([^"]+)"', answer.text)
                if not link.startswith('data:')
            ]
    assert sum(path.startswith('/matches/') for path in visited) > 50
    assert any(path.startswith('/reports/train/') for path in visited)


@pytest.mark.parametrize(
    ('path', 'status', 'text'),
    [
        ('/matches/E0-2526-west-ham-wolve', 404, MATCH),
        ('/leagues/X9', 404, 'there is no league'),
        ('/nowhere', 404, 'Not Found'),
        ('/?league=X9', 404, 'no league'),
        ('/matches/<script>', 422, 'match_id'),
        ('/reports/none.html', 404, 'Not Found'),
    ],
)
def test_a_problem_is_a_page_for_people_and_json_for_programs(site, path, status, text):
    page = httpx.get(site + path, headers=HTML)
    assert (page.status_code, page.headers['content-type']) == (status, 'text/html; charset=utf-8')
    assert text in page.text
    assert '<script' not in page.text
    assert httpx.get(site + path).headers['content-type'] == 'application/problem+json'
    assert (
        httpx.get(f'{site}/api/v1{path}', headers=HTML).headers['content-type']
        == 'application/problem+json'
    )


def test_without_a_model_the_page_names_the_command(tmp_path):
    (home := tmp_path / 'home').mkdir()
    with serving(home) as address:
        page = httpx.get(address, headers=HTML)
        assert (page.status_code, page.headers['retry-after']) == (503, '5')
        assert 'football-pred run daily' in page.text
        assert 'no model is published yet' in page.text
        assert 'No forecast is settled yet' in httpx.get(f'{address}/scoreboard', headers=HTML).text
        assert 'No runs yet' in httpx.get(f'{address}/runs', headers=HTML).text


def test_a_page_allows_its_style_and_nothing_else(site):
    answer = httpx.get(site)
    policy = answer.headers['content-security-policy']
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src data:")
    style = re.search(r'href="(/look-\w+\.css)"', answer.text)[1]
    assert 'immutable' in httpx.get(site + style).headers['cache-control']
    assert '<script' not in answer.text


def test_forecasts_of_the_bundled_day_are_labelled_as_replays(site):
    for path in ('/', '/?league=E0', f'/matches/{MATCH}'):
        page = httpx.get(site + path, headers=HTML).text
        labels = page.count('class="replay"')
        assert labels >= max(1, page.count('<p class="likely">')), path
    assert httpx.get(f'{site}/scoreboard?kind=none', headers=HTML).status_code == 422


def test_pages_show_the_forecasts_of_the_api_and_compute_them_once(site):
    forecast = httpx.get(f'{site}/api/v1/predictions/E0-2526-arsenal-bournemouth').json()
    page = httpx.get(f'{site}/matches/E0-2526-arsenal-bournemouth').text
    assert f"{forecast['rates']['home']:.2f} \N{EN DASH} {forecast['rates']['away']:.2f}" in page

    def computed() -> float:
        return float(
            re.search(
                r'football_predictions_made_total\{[^}]*\} (\S+)', httpx.get(f'{site}/metrics').text
            )[1]
        )

    def visits_compute_nothing() -> bool:
        httpx.get(site)
        before = computed()
        started = time.perf_counter()
        for _ in range(20):
            assert httpx.get(site).status_code == 200
        print(f'a page of all matches took {50 * (time.perf_counter() - started):.1f} ms')
        return computed() == before

    wait_until(visits_compute_nothing)  # matches are loaded anew each minute
