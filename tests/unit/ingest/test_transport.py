"The transport against real servers on this machine: what arrives, what is tried again, what is refused, and what nobody may see."

import asyncio
import gzip
import logging
import math
import signal
import socket
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from football_pred import __version__
from football_pred.core.logging import mask_secrets
from football_pred.ingest.http import fetch_all
from football_pred.ingest.http_messages import (
    BodyDecoder,
    CacheValidators,
    FetchError,
    FetchLimits,
    FetchResult,
    HttpRequest,
    retry_after,
    secret_variants,
)

NOW = datetime(2026, 4, 4, 15, tzinfo=UTC)
CSV = b'Div,Date,HomeTeam,AwayTeam,FTHG,FTAG\nE0,04/04/2026,Arsenal,Everton,2,0\n'
PATIENCE = 10  # seconds that a test waits for something that comes at once if all is well
MB = 2**20


class Clock:
    "Time that passes only by being waited for."

    def __init__(self) -> None:
        self.time, self.slept = 0.0, []

    def __call__(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


class Visitor(BaseHTTPRequestHandler):
    "One connection to a site: the path names the method of the test that answers."

    protocol_version = 'HTTP/1.1'
    site: 'Site'

    def setup(self) -> None:
        super().setup()
        self.site.connections += 1

    def do_GET(self) -> None:
        path, site = urlsplit(self.path).path, self.site
        with site.lock:
            site.seen.append(self.path)
            site.headers.append(dict(self.headers))
            site.active += 1
            site.busiest = max(site.busiest, site.active)
            self.count = sum(
                urlsplit(one).path == path for one in site.seen
            )  # times this path was asked for
        try:
            site.pages[path](self) if path in site.pages else self.answer(404, b'not here')
        except OSError:
            self.close_connection = True  # the client went away, as some should
        finally:
            with site.lock:
                site.active -= 1
            site.finished.release()

    def answer(self, status: int = 200, body: bytes = b'', **headers: object) -> None:
        self.start(status, Content_Length=len(body), **headers)
        self.send(body)

    def start(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), str(value))
        self.end_headers()

    def send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.site.sent += len(data)

    def hang_up(self) -> None:
        "Leave without another byte."
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def wait_for_client_to_leave(self) -> None:
        self.connection.settimeout(PATIENCE)
        self.close_connection = True
        if self.connection.recv(1) == b'':
            self.site.left.release()

    def log_message(self, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: object) -> None:
        "A client that hangs up is no news."


class Site:
    "A real HTTP server on a free port of this machine."

    def __init__(self) -> None:
        self.pages: dict[str, Callable[[Visitor], Any]] = {}
        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.connections = self.active = self.busiest = self.sent = 0
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.finished, self.left = threading.Semaphore(0), threading.Semaphore(0)
        self.server = Server(('127.0.0.1', 0), type('Visit', (Visitor,), {'site': self}))
        threading.Thread(
            target=self.server.serve_forever, args=(0.01,), name='site', daemon=True
        ).start()

    def page(self, path: str, answer: Callable[[Visitor], Any]) -> str:
        "Serve a page and give its URL."
        self.pages[path] = answer
        return self.url(path)

    def url(self, path: str) -> str:
        return f'http://127.0.0.1:{self.server.server_port}{path}'

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def other_site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fetch(clock: Clock) -> Callable[..., list[FetchResult]]:
    "Fetch items, URLs or both; pauses pass at once."

    def fetch(*items: HttpRequest | str, progress: Any = None, **limits: Any) -> list[FetchResult]:
        todo = [HttpRequest(item) if isinstance(item, str) else item for item in items]
        limits = {'requests_per_second': None, 'timeout': PATIENCE} | limits
        return list(
            fetch_all(
                todo,
                wall_clock=lambda: NOW,
                limits=FetchLimits(**limits),
                progress=progress,
                monotonic_clock=clock,
                sleep=clock.sleep,
            )
        )

    return fetch


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == 'transport']


# What arrives


def test_a_page_arrives_whole(site, fetch):
    page = site.page(
        '/E0.csv',
        lambda visit: visit.answer(
            200, CSV, ETag='"v1"', Last_Modified='Sat, 04 Apr 2026 14:00:00 GMT'
        ),
    )
    (fetched,) = fetch(page)
    assert fetched == FetchResult(
        page, 'new', CSV, '"v1"', 'Sat, 04 Apr 2026 14:00:00 GMT', http_status=200, attempts=1
    )
    assert site.headers[0]['User-Agent'] == f'football_pred/{__version__}'
    assert site.headers[0]['Accept-Encoding'] == 'gzip, deflate'


def test_an_empty_page_arrives(site, fetch):
    assert fetch(site.page('/', lambda visit: visit.answer(200)))[0].content == b''


def test_html_with_status_200_is_an_answer(site, fetch):
    page = site.page(
        '/',
        lambda visit: visit.answer(
            200, b'<html>Down for maintenance</html>', Content_Type='text/html'
        ),
    )
    assert fetch(page)[0].content == b'<html>Down for maintenance</html>'


def test_the_query_of_a_url_is_kept_beside_secret_parameters(site, fetch):
    page = site.page('/odds', lambda visit: visit.answer(200))
    (fetched,) = fetch(HttpRequest(page + '?regions=uk', params={'apiKey': 'a key&more'}))
    assert fetched.url == page + '?regions=uk'
    assert parse_qs(urlsplit(site.seen[0]).query) == {'regions': ['uk'], 'apiKey': ['a key&more']}


@pytest.mark.parametrize(
    ('name', 'value', 'validators'),
    [
        ('If-None-Match', '"v1"', CacheValidators(etag='"v1"')),
        (
            'If-Modified-Since',
            'Sat, 04 Apr 2026 14:00:00 GMT',
            CacheValidators(last_modified='Sat, 04 Apr 2026 14:00:00 GMT'),
        ),
    ],
)
def test_what_is_kept_is_not_sent_again(site, fetch, name, value, validators):
    page = site.page(
        '/',
        lambda visit: visit.start(304) if visit.headers[name] == value else visit.answer(200, CSV),
    )
    (fetched,) = fetch(HttpRequest(page, validators=validators))
    assert (fetched.status, fetched.content, fetched.http_status, fetched.attempts) == (
        'unchanged',
        None,
        304,
        1,
    )
    assert CacheValidators(fetched.etag, fetched.last_modified) == validators
    assert fetch(page)[0].status == 'new'


def test_a_newer_validator_in_a_304_is_kept(site, fetch):
    page = site.page('/', lambda visit: visit.start(304, ETag='"v2"'))
    assert fetch(HttpRequest(page, validators=CacheValidators('"v1"')))[0].etag == '"v2"'


def test_a_304_that_nobody_asked_for_is_a_failure(site, fetch):
    (fetched,) = fetch(site.page('/', lambda visit: visit.start(304)))
    assert (fetched.status, fetched.error) == (
        'failed',
        'HTTP 304 Not Modified: no validator was sent',
    )


def test_connections_serve_again(site, fetch):
    pages = [site.page(f'/{number}', lambda visit: visit.answer(200, CSV)) for number in range(5)]
    fetch(
        *pages,
        *(HttpRequest(page, validators=CacheValidators('"v1"')) for page in pages),
        concurrency=1,
    )
    assert (len(site.seen), site.connections) == (10, 1)


def test_a_304_leaves_the_connection_open(site, fetch):
    page = site.page('/', lambda visit: visit.start(304))
    fetch(*[HttpRequest(page, validators=CacheValidators('"v1"'))] * 5, concurrency=1)
    assert (len(site.seen), site.connections) == (5, 1)


# Statuses


@pytest.mark.parametrize(
    ('status', 'error'),
    [
        (400, 'HTTP 400 Bad Request'),
        (401, 'HTTP 401 Unauthorized: the token is missing or wrong'),
        (403, 'HTTP 403 Forbidden: the token does not allow this'),
        (404, 'HTTP 404 Not Found'),
        (410, 'HTTP 410 Gone'),
        (204, 'HTTP 204 No Content'),
        (206, 'HTTP 206 Partial Content'),
        (302, 'HTTP 302 Found'),
        (499, 'HTTP 499'),
    ],
)
def test_other_statuses_are_final(site, fetch, clock, status, error):
    (fetched,) = fetch(
        site.page('/', lambda visit: visit.answer(status, b'' if status == 204 else b'no'))
    )
    assert (fetched.status, fetched.error_type, fetched.error, fetched.http_status) == (
        'failed',
        'status',
        error,
        status,
    )
    assert (fetched.attempts, fetched.content, clock.slept, len(site.seen)) == (1, None, [], 1)


@pytest.mark.parametrize('status', [500, 502, 503, 504])
def test_a_server_error_may_pass(site, fetch, clock, status):
    page = site.page(
        '/', lambda visit: visit.answer(200, CSV) if visit.count == 2 else visit.answer(status)
    )
    (fetched,) = fetch(page)
    assert (fetched.status, fetched.content, fetched.attempts, fetched.error) == (
        'new',
        CSV,
        2,
        None,
    )
    assert len(clock.slept) == 1
    assert 1 <= clock.slept[0] <= 2
    assert fetched.seconds == clock.slept[0]


def test_a_server_error_that_stays_is_counted(site, fetch, clock):
    (fetched,) = fetch(site.page('/', lambda visit: visit.answer(503)), retries=4, max_wait=6)
    assert (fetched.status, fetched.error, fetched.attempts) == (
        'failed',
        'HTTP 503 Service Unavailable (5 attempts)',
        5,
    )
    assert len(site.seen) == 5
    assert [
        low <= pause <= high
        for pause, low, high in zip(clock.slept, (1, 2, 4, 6), (2, 3, 5, 6), strict=True)
    ] == [True] * 4


def test_without_retries_there_is_one_attempt(site, fetch, clock):
    assert fetch(site.page('/', lambda visit: visit.answer(503)), retries=0)[0].attempts == 1
    assert clock.slept == []


# Pauses that a server asks for


@pytest.mark.parametrize('status', [429, 503])
@pytest.mark.parametrize('value', ['7', format_datetime(NOW + timedelta(seconds=7), usegmt=True)])
def test_a_pause_is_as_long_as_asked(site, fetch, clock, status, value):
    page = site.page(
        '/',
        lambda visit: (
            visit.answer(200, CSV) if visit.count == 2 else visit.answer(status, Retry_After=value)
        ),
    )
    (fetched,) = fetch(page)
    assert (fetched.status, fetched.attempts, clock.slept, fetched.seconds) == ('new', 2, [7], 7)


def test_football_data_org_names_the_pause_in_its_own_way(site, fetch, clock):
    full = {'X-Requests-Available-Minute': 0, 'X-RequestCounter-Reset': 42}
    page = site.page(
        '/', lambda visit: visit.answer(200, CSV) if visit.count == 2 else visit.answer(429, **full)
    )
    assert fetch(page)[0].status == 'new'
    assert clock.slept == [42]


@pytest.mark.parametrize(
    'value', ['soon', '', '0', '-5', format_datetime(NOW - timedelta(days=1), usegmt=True)]
)
def test_a_pause_that_cannot_be_read_is_ours(site, fetch, clock, value):
    page = site.page(
        '/',
        lambda visit: (
            visit.answer(200, CSV) if visit.count == 2 else visit.answer(429, Retry_After=value)
        ),
    )
    assert fetch(page)[0].status == 'new'
    assert len(clock.slept) == 1
    assert 1 <= clock.slept[0] <= 2


@pytest.mark.parametrize('value', ['3600', format_datetime(NOW + timedelta(hours=1), usegmt=True)])
def test_a_pause_that_is_too_long_is_for_the_next_run(site, fetch, clock, value):
    (fetched,) = fetch(site.page('/', lambda visit: visit.answer(429, Retry_After=value)))
    assert (fetched.status, fetched.error_type, fetched.attempts, clock.slept) == (
        'failed',
        'rate_limited',
        1,
        [],
    )
    assert fetched.retry_at == NOW + timedelta(hours=1)
    assert (
        fetched.error
        == 'HTTP 429 Too Many Requests; it requests a pause of 3600 seconds, more than the 90 allowed'
    )


def test_a_host_that_wants_to_be_left_alone_is_left_alone_by_all(site, other_site, fetch, clock):
    busy = site.page('/busy', lambda visit: visit.answer(429, Retry_After='3600'))
    fine = site.page('/fine', lambda visit: visit.answer(200, CSV))
    elsewhere = other_site.page('/fine', lambda visit: visit.answer(200, CSV))
    first, second, third = fetch(busy, fine, elsewhere, concurrency=1)
    assert (second.status, second.error_type, second.attempts, second.http_status) == (
        'failed',
        'rate_limited',
        0,
        None,
    )
    assert second.error == '127.0.0.1 requested a pause of 3600 seconds'
    assert first.retry_at == second.retry_at == NOW + timedelta(hours=1)
    assert (third.status, clock.slept, site.seen) == ('new', [], ['/busy'])


def test_the_last_request_of_the_minute_makes_the_next_one_wait(site, fetch, clock):
    page = site.page(
        '/',
        lambda visit: visit.answer(
            200, CSV, X_Requests_Available_Minute=2 - visit.count, X_RequestCounter_Reset=30
        ),
    )
    results = fetch(page, page, page, concurrency=1)
    assert [one.requests_left for one in results] == [1, 0, -1]
    assert [one.status for one in results] == ['new'] * 3
    assert clock.slept == [30]


def test_an_allowance_that_comes_back_too_late_is_for_the_next_run(site, fetch, clock):
    page = site.page(
        '/',
        lambda visit: visit.answer(
            200, CSV, X_Requests_Available_Minute=0, X_RequestCounter_Reset=600
        ),
    )
    first, second = fetch(page, page, concurrency=1)
    assert (first.status, second.status, second.attempts, clock.slept) == ('new', 'failed', 0, [])
    assert second.retry_at == NOW + timedelta(minutes=10)
    assert second.error == '127.0.0.1 has no requests left; the count is reset in 600 seconds'


def test_an_allowance_without_an_end_stops_the_host(site, fetch):
    page = site.page(
        '/', lambda visit: visit.answer(200, CSV, x_requests_remaining=0, x_requests_used=500)
    )
    first, second = fetch(page, page, concurrency=1)
    assert (first.status, first.requests_left, first.requests_used) == ('new', 0, 500)
    assert (second.status, second.error_type, second.retry_at) == ('failed', 'rate_limited', None)
    assert second.error == '127.0.0.1 has no requests left; the time of the reset is unknown'
    assert len(site.seen) == 1


@given(st.text(max_size=30) | st.integers().map(str))
def test_any_pause_is_read_or_left(value):
    seconds = retry_after(value, NOW)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


# Lines that break


def stall(visit: Visitor) -> None:
    visit.site.closing.wait(PATIENCE)


def test_silence_before_an_answer_ends(site, fetch):
    (fetched,) = fetch(site.page('/', stall), timeout=0.1, retries=1)
    assert (fetched.status, fetched.error_type, fetched.attempts, fetched.http_status) == (
        'failed',
        'timeout',
        2,
        None,
    )
    assert fetched.error == 'no data for 0.1 seconds (2 attempts)'


def test_silence_inside_a_body_ends(site, fetch):
    def page(visit: Visitor) -> None:
        visit.start(200, Content_Length=100)
        visit.send(b'half')
        stall(visit)

    (fetched,) = fetch(site.page('/', page), timeout=0.1, retries=1)
    assert (fetched.status, fetched.error_type, fetched.attempts, fetched.content) == (
        'failed',
        'timeout',
        2,
        None,
    )


@pytest.mark.parametrize('where', ['head', 'body'])
def test_what_drips_ends(site, fetch, where):
    def page(visit: Visitor) -> None:
        if where == 'body':
            visit.start(200, Content_Length=10**6)
        else:
            visit.send(b'HTTP/1.1 200 OK\r\nX-Long: ')
        while not visit.site.closing.wait(0.01):
            visit.send(b'x')

    (fetched,) = fetch(site.page('/', page), total_timeout=0.3)
    assert (fetched.status, fetched.error_type, fetched.error, fetched.attempts) == (
        'failed',
        'timeout',
        'not complete after 0.3 seconds',
        1,
    )
    assert site.finished.acquire(timeout=PATIENCE), 'the connection is still open'


def test_the_time_on_the_wire_is_for_all_attempts(site, fetch):
    (fetched,) = fetch(site.page('/', stall), timeout=0.2, total_timeout=0.3)
    assert (fetched.error, fetched.attempts) == ('not complete after 0.3 seconds (2 attempts)', 2)


def test_pauses_do_not_count_as_time_on_the_wire(site, fetch, clock):
    page = site.page(
        '/',
        lambda visit: (
            visit.answer(200, CSV) if visit.count == 3 else visit.answer(429, Retry_After='80')
        ),
    )
    (fetched,) = fetch(page, total_timeout=PATIENCE)
    assert (fetched.status, clock.slept) == ('new', [80, 80])


@pytest.mark.parametrize('chunked', [False, True])
def test_a_body_that_was_cut_off_is_fetched_again(site, fetch, clock, chunked):
    def page(visit: Visitor) -> None:
        if visit.count == 2:
            return visit.answer(200, CSV)
        if chunked:
            visit.start(200, Transfer_Encoding='chunked')
        else:
            visit.start(200, Content_Length=len(CSV))
        visit.send(b'%x\r\n%s\r\n' % (20, CSV[:20]) if chunked else CSV[:20])
        return visit.hang_up()

    (fetched,) = fetch(site.page('/', page))
    assert (fetched.status, fetched.content, fetched.attempts, len(clock.slept)) == (
        'new',
        CSV,
        2,
        1,
    )


def test_a_body_shorter_than_announced_is_never_an_answer(site, fetch):
    def page(visit: Visitor) -> None:
        visit.start(200, Content_Length=len(CSV) + 1)
        visit.send(CSV)
        visit.hang_up()

    (fetched,) = fetch(site.page('/', page), retries=2)
    assert (fetched.status, fetched.error_type, fetched.attempts, fetched.content) == (
        'failed',
        'cut_off',
        3,
        None,
    )
    assert fetched.error.startswith('the body was cut off: ')


@pytest.mark.parametrize('status', [200, 304])
def test_a_body_longer_than_announced_does_not_reach_the_next_answer(site, fetch, status):
    def page(visit: Visitor) -> None:
        visit.start(status, **({'Content_Length': 20} if status == 200 else {}))
        visit.send(CSV)

    long = HttpRequest(site.page('/long', page), validators=CacheValidators('"v1"'))
    first, second = fetch(
        long, site.page('/E0.csv', lambda visit: visit.answer(200, CSV)), concurrency=1
    )
    assert (first.http_status, first.content) == ((200, CSV[:20]) if status == 200 else (304, None))
    assert second.content == CSV


def test_a_compressed_body_that_ends_early_is_cut_off(site, fetch):
    packed = gzip.compress(CSV)
    page = site.page(
        '/',
        lambda visit: visit.answer(
            200, packed if visit.count == 2 else packed[:-9], Content_Encoding='gzip'
        ),
    )
    (fetched,) = fetch(page)
    assert (fetched.status, fetched.content, fetched.attempts) == ('new', CSV, 2)


def test_a_connection_that_closes_without_a_word_is_tried_again(site, fetch):
    page = site.page(
        '/', lambda visit: visit.answer(200, CSV) if visit.count == 2 else visit.hang_up()
    )
    assert fetch(page)[0].content == CSV
    assert len(site.seen) == 2


def test_what_is_not_http_is_no_answer(site, fetch):
    (fetched,) = fetch(
        site.page('/', lambda visit: (visit.send(b'SSH-2.0-OpenSSH_9.2\r\n\r\n'), visit.hang_up())),
        retries=1,
    )
    assert (fetched.status, fetched.error_type, fetched.attempts) == ('failed', 'connection', 2)


def test_a_refused_connection_is_tried_again(fetch, clock):
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    (fetched,) = fetch(f'http://127.0.0.1:{port}/E0.csv')
    assert (fetched.status, fetched.error_type, fetched.attempts, fetched.http_status) == (
        'failed',
        'connection',
        4,
        None,
    )
    assert len(clock.slept) == 3


@pytest.mark.parametrize(
    'url',
    [
        'ftp://example.org/E0.csv',
        'file:///etc/hostname',
        'E0.csv',
        '/E0.csv',
        'http://',
        'http:///E0.csv',
        '',
        'http://exam\nple.org/',
        'http://example.org:port/',
        'http://[::1/',
        'mailto:someone@example.org',
    ],
)
def test_only_http_and_https_are_fetched(fetch, url):
    (fetched,) = fetch(url)
    assert (fetched.url, fetched.status, fetched.error_type, fetched.attempts) == (
        url,
        'failed',
        'request',
        0,
    )


def test_a_token_that_no_header_can_hold_is_refused_unseen(site, fetch):
    page = site.page('/', lambda visit: visit.answer(200))
    for token in ('hush\nhush', 'hüsch'):
        (fetched,) = fetch(HttpRequest(page, headers={'X-Auth-Token': token}))
        assert (fetched.status, fetched.error_type, fetched.error) == (
            'failed',
            'request',
            'a header or parameter cannot be written in HTTP',
        )


def test_a_host_that_does_not_speak_tls_is_no_answer(site, fetch):
    (fetched,) = fetch(site.url('/').replace('http:', 'https:'), retries=0)
    assert (fetched.status, fetched.error_type, fetched.http_status) == (
        'failed',
        'connection',
        None,
    )


# Sizes and encodings


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def deflate_without_header(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ('encoding', 'pack'),
    [
        ('gzip', gzip.compress),
        ('x-gzip', gzip.compress),
        ('GZIP', gzip.compress),
        ('deflate', zlib.compress),
        ('deflate', deflate_without_header),
        ('identity', bytes),
    ],
)
def test_bodies_are_decoded(site, fetch, encoding, pack):
    (fetched,) = fetch(
        site.page(
            '/', lambda visit: visit.answer(200, pack(CSV * 1000), Content_Encoding=encoding)
        ),
        max_bytes=len(CSV) * 1000,
    )
    assert (fetched.status, fetched.content) == ('new', CSV * 1000)


@given(
    st.binary(max_size=300),
    st.integers(1, 40),
    st.sampled_from(
        [('gzip', gzip.compress), ('deflate', zlib.compress), ('deflate', deflate_without_header)]
    ),
)
def test_pieces_do_not_matter(data, size, way):
    encoding, pack = way
    decoder = BodyDecoder(encoding, max_bytes=400)
    assert b''.join(decoder.feed(piece) for piece in chunks(pack(data), size)) == data
    decoder.finish()


@pytest.mark.parametrize(
    ('encoding', 'body', 'error'),
    [
        ('br', CSV, "the body is encoded as 'br'; only gzip and deflate are supported"),
        (
            'gzip, gzip',
            CSV,
            "the body is encoded as 'gzip, gzip'; only gzip and deflate are supported",
        ),
        ('gzip', CSV, 'the body is not gzip, as its header announces'),
        (
            'gzip',
            gzip.compress(CSV, mtime=0) + b'more',
            'the body goes on after the end of its gzip stream',
        ),
    ],
    ids=['unknown', 'twice', 'not', 'more'],
)
def test_what_cannot_be_decoded_is_a_failure(site, fetch, encoding, body, error):
    (fetched,) = fetch(
        site.page('/', lambda visit: visit.answer(200, body, Content_Encoding=encoding))
    )
    assert (fetched.status, fetched.error_type, fetched.error, fetched.attempts) == (
        'failed',
        'decoding',
        error,
        1,
    )


def test_a_chunked_body_needs_no_length(site, fetch):
    def page(visit: Visitor) -> None:
        visit.start(200, Transfer_Encoding='chunked')
        for piece in chunks(CSV, 7):
            visit.send(b'%x\r\n%s\r\n' % (len(piece), piece))
        visit.send(b'0\r\n\r\n')

    assert fetch(site.page('/', page))[0].content == CSV


def test_a_body_that_ends_with_its_connection_needs_no_length(site, fetch):
    (fetched,) = fetch(
        site.page(
            '/',
            lambda visit: (visit.start(200, Connection='close'), visit.send(CSV), visit.hang_up()),
        )
    )
    assert fetched.content == CSV


def test_a_body_may_have_the_size_allowed_and_not_a_byte_more(site, fetch):
    page = site.page('/', lambda visit: visit.answer(200, CSV))
    assert fetch(page, max_bytes=len(CSV))[0].status == 'new'
    (fetched,) = fetch(page, max_bytes=len(CSV) - 1)
    assert (fetched.error_type, fetched.error) == (
        'too_large',
        f'too large: {len(CSV)} bytes, {len(CSV) - 1} allowed',
    )


@pytest.mark.parametrize('announced', [True, False])
def test_a_huge_body_is_not_read(site, fetch, announced):
    def page(visit: Visitor) -> None:
        visit.start(200, **({'Content_Length': 200 * MB} if announced else {'Connection': 'close'}))
        for _ in range(200):
            visit.send(bytes(MB))

    (fetched,) = fetch(site.page('/', page), max_bytes=2 * MB)
    assert (fetched.status, fetched.error_type, fetched.attempts) == ('failed', 'too_large', 1)
    assert fetched.error == (
        'too large: 209,715,200 bytes, 2,097,152 allowed'
        if announced
        else 'too large: more than 2,097,152 bytes'
    )
    assert site.finished.acquire(timeout=PATIENCE), 'the server is still sending'
    assert site.sent < 40 * MB  # what fits into the buffers between the two


def bomb() -> bytes:
    "A quarter of a gigabyte of nothing, a quarter of a megabyte long."
    packer = zlib.compressobj(6, wbits=31)
    return b''.join(packer.compress(bytes(16 * MB)) for _ in range(16)) + packer.flush()


def test_a_bomb_does_not_go_off(site, fetch):
    packed = bomb()
    (fetched,) = fetch(
        site.page('/', lambda visit: visit.answer(200, packed, Content_Encoding='gzip'))
    )
    assert (fetched.status, fetched.error_type, fetched.error) == (
        'failed',
        'too_large',
        'too large: more than 67,108,864 bytes',
    )
    decoder = BodyDecoder('gzip', max_bytes=1000)
    with pytest.raises(FetchError):
        decoder.feed(packed)
    assert decoder.decoded_bytes == 1001


def test_a_bomb_that_never_makes_a_byte_ends_too():
    empty_block = b'\x00\x00\x00\xff\xff'
    decoder = BodyDecoder('gzip', max_bytes=1000)
    decoder.feed(gzip.compress(b'')[:10])
    for _ in range(198):
        assert decoder.feed(empty_block) == b''
    with pytest.raises(FetchError):
        decoder.feed(empty_block)


# Redirects


def redirect(url: str, status: int = 302) -> Callable[[Visitor], None]:
    return lambda visit: visit.answer(status, Location=url)


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_host_keeps_the_secrets(site, fetch, status):
    site.page('/new', lambda visit: visit.answer(200, CSV, ETag='"v1"'))
    old = site.page('/old', redirect('/new?page=1', status))
    (fetched,) = fetch(
        HttpRequest(old, headers={'X-Auth-Token': 'hush'}, params={'apiKey': 'hash'})
    )
    assert (fetched.url, fetched.status, fetched.content, fetched.attempts) == (old, 'new', CSV, 1)
    assert [headers['X-Auth-Token'] for headers in site.headers] == ['hush', 'hush']
    assert site.seen == ['/old?apiKey=hash', '/new?page=1&apiKey=hash']


@pytest.mark.parametrize('echo', ['', '?apiKey=hash', '?page=1&apiKey=hash'])
def test_a_redirect_to_another_host_drops_the_secrets(site, other_site, fetch, echo):
    target = other_site.page('/there', lambda visit: visit.answer(200, CSV))
    here = site.page('/here', redirect(target + echo))
    secret = {'X-Auth-Token': 'hush', 'Authorization': 'Bearer hosh'}
    (fetched,) = fetch(
        HttpRequest(
            here, headers=secret, params={'apiKey': 'hash'}, validators=CacheValidators('"v1"')
        )
    )
    assert (fetched.status, fetched.content) == ('new', CSV)
    assert not {'X-Auth-Token', 'Authorization'} & set(other_site.headers[0])
    assert other_site.headers[0]['If-None-Match'] == '"v1"'
    assert [
        one
        for one in other_site.seen + list(other_site.headers[0].values())
        if any(word in one for word in ('hush', 'hosh', 'hash'))
    ] == []


def test_another_name_of_the_same_machine_is_another_host(site, fetch):
    site.page('/there', lambda visit: visit.answer(401))
    (fetched,) = fetch(
        HttpRequest(
            site.page('/here', redirect(site.url('/there').replace('127.0.0.1', 'localhost'))),
            headers={'X-Auth-Token': 'hush'},
        )
    )
    assert 'X-Auth-Token' not in site.headers[1]
    assert (
        fetched.error
        == 'HTTP 401 Unauthorized: the token is missing or wrong; it was redirected to another host, which does not get the token'
    )


def test_a_redirect_that_hides_a_secret_elsewhere_is_not_followed(site, other_site, fetch):
    for target in ('/hash', '/there?key=hash', '/there?' + quote('a key&more', safe='')):
        here = site.page('/here', redirect(other_site.url(target)))
        (fetched,) = fetch(HttpRequest(here, params={'apiKey': 'hash', 'other': 'a key&more'}))
        assert (fetched.error_type, fetched.error) == (
            'redirect',
            'a secret would go to another host',
        )
    assert other_site.seen == []


def test_five_redirects_are_followed_and_no_sixth(site, fetch):
    for number in range(1, 7):
        site.page(f'/{number}', redirect(f'/{number - 1}'))
    site.page('/0', lambda visit: visit.answer(200, CSV))
    assert fetch(site.url('/5'))[0].status == 'new'
    (fetched,) = fetch(site.url('/6'))
    assert (fetched.status, fetched.error_type, fetched.error, fetched.attempts) == (
        'failed',
        'redirect',
        'more than 5 redirects',
        1,
    )


def test_a_loop_of_redirects_ends(site, fetch):
    site.page('/b', redirect('/a'))
    (fetched,) = fetch(HttpRequest(site.page('/a', redirect('/b')), params={'apiKey': 'hush'}))
    assert (fetched.error_type, fetched.error, len(site.seen)) == (
        'redirect',
        'the redirects form a loop',
        2,
    )


@pytest.mark.parametrize(
    'target', ['ftp://example.org/E0.csv', 'file:///etc/hostname', 'mailto:someone@example.org']
)
def test_a_redirect_leads_to_http_or_nowhere(site, fetch, target):
    (fetched,) = fetch(site.page('/', redirect(target)))
    assert (fetched.status, fetched.attempts) == ('failed', 1)
    assert fetched.error_type in ('redirect', 'request')


# Many at once


def test_never_more_at_once_than_allowed(site, fetch):
    together = threading.Barrier(
        3, timeout=PATIENCE
    )  # breaks unless three are there at the same moment
    pages = [
        site.page(f'/{number}', lambda visit: (together.wait(), visit.answer(200, CSV)))
        for number in range(9)
    ]
    results = fetch(*pages, concurrency=3)
    assert Counter(one.status for one in results) == {'new': 9}
    assert (site.busiest, site.connections) == (3, 3)


@pytest.mark.parametrize('concurrency', [1, 4])
def test_each_host_has_its_own_pace(site, other_site, fetch, clock, concurrency):
    def page(visit: Visitor) -> None:
        visit.answer(200, CSV)

    one, other = site.page('/', page), other_site.page('/', page)
    fetch(*[one] * 5, concurrency=concurrency, requests_per_second=2)
    assert clock.slept == [0.5] * 4
    clock.slept.clear()
    fetch(*[one, other] * 5, concurrency=1, requests_per_second=2)
    assert clock.slept == [0.5] * 4  # while one host rests, the other is asked


def test_retries_and_redirects_keep_the_pace_too(site, fetch, clock):
    site.page(
        '/new', lambda visit: visit.answer(200, CSV) if visit.count == 2 else visit.answer(500)
    )
    (fetched,) = fetch(site.page('/old', redirect('/new')), requests_per_second=0.1, backoff=1)
    assert (fetched.status, len(site.seen)) == ('new', 4)
    assert clock.time == pytest.approx(30)  # four requests, ten seconds apart


def test_one_bad_among_ten_good(site, fetch):
    good = [site.page(f'/{number}', lambda visit: visit.answer(200, CSV)) for number in range(10)]
    results = fetch(*good[:5], site.page('/bad', lambda visit: visit.hang_up()), *good[5:])
    assert Counter(one.status for one in results) == {'new': 10, 'failed': 1}
    assert [one.url for one in results if one.status == 'failed'] == [site.url('/bad')]


def test_an_error_nobody_foresaw_stops_nobody(site, fetch):
    good = site.page('/', lambda visit: visit.answer(200, CSV))
    broken = HttpRequest(good, headers={'X-Auth-Token': 42})  # type: ignore[dict-item]
    results = fetch(
        good, HttpRequest(good, validators=CacheValidators(etag=7)), good, concurrency=1
    )  # type: ignore[arg-type]
    assert [one.status for one in results] == ['new', 'failed', 'new']
    assert results[1].error_type == 'TypeError'
    with pytest.raises(AttributeError):
        fetch(broken)  # a mistake of the caller's in what is secret shows at once


def test_answers_are_handed_over_as_they_come(site, clock):
    slow = site.page(
        '/slow',
        lambda visit: (visit.site.left.acquire(timeout=PATIENCE), visit.answer(200, b'slow')),
    )
    fast = site.page('/fast', lambda visit: visit.answer(200, b'fast'))
    results = fetch_all(
        [HttpRequest(slow), HttpRequest(fast)],
        wall_clock=lambda: NOW,
        monotonic_clock=clock,
        sleep=clock.sleep,
    )
    assert next(results).content == b'fast'
    site.left.release()
    assert [one.content for one in results] == [b'slow']


def test_nothing_runs_ahead_of_who_takes_it(site, clock):
    pages = [
        HttpRequest(site.page(f'/{number}', lambda visit: visit.answer(200, CSV)))
        for number in range(20)
    ]
    meanwhile = site.page('/meanwhile', lambda visit: visit.answer(200, CSV))
    results = fetch_all(
        pages,
        wall_clock=lambda: NOW,
        limits=FetchLimits(concurrency=2, requests_per_second=None),
        monotonic_clock=clock,
        sleep=clock.sleep,
    )
    for taken, _ in enumerate(results, 1):
        for _ in range(3):
            httpx.get(meanwhile)  # there is time enough for more
        assert len([path for path in site.seen if path != '/meanwhile']) <= taken + 2


def test_progress_reaches_the_total(site, fetch):
    seen = []
    pages = [site.page(f'/{number}', lambda visit: visit.answer(200, CSV)) for number in range(6)]
    results = fetch(*pages, site.url('/missing'), progress=lambda *step: seen.append(step))
    assert seen == [(number, 7, one) for number, one in enumerate(results, 1)]


def test_nothing_to_fetch_is_nothing(fetch):
    assert fetch() == []


def test_nothing_is_left_when_all_is_done(site, fetch):
    fetch(site.page('/', lambda visit: visit.answer(200, CSV)), site.url('/missing'))
    assert threads() == []


@pytest.mark.parametrize('way', ['close', 'break', 'error', 'progress'])
def test_leaving_early_closes_everything(site, clock, way):
    def page(visit: Visitor) -> None:
        visit.start(200, Content_Length=100)
        visit.send(b'half')
        visit.wait_for_client_to_leave()

    items = [
        HttpRequest(site.page('/E0.csv', lambda visit: visit.answer(200, CSV))),
        HttpRequest(site.page('/stalls', page)),
        HttpRequest(site.url('/stalls')),
    ]

    def progress(*step: object) -> None:
        if way == 'progress':
            raise RuntimeError('enough')

    results = fetch_all(
        items,
        wall_clock=lambda: NOW,
        limits=FetchLimits(requests_per_second=None),
        progress=progress,
        monotonic_clock=clock,
        sleep=clock.sleep,
    )

    def take() -> None:
        for _ in results:
            assert threads() == ['transport']
            if way == 'error':
                raise RuntimeError('enough')
            if way == 'break':
                break
            if way == 'close':
                results.close()

    if way in ('error', 'progress'):
        with pytest.raises(RuntimeError, match='enough'):
            take()
    else:
        take()
    del take
    results.close()
    assert threads() == []


def test_leaving_early_hangs_up(site, clock):
    begun = threading.Semaphore(0)

    def page(visit: Visitor) -> None:
        visit.start(200, Content_Length=100)
        begun.release()
        visit.wait_for_client_to_leave()

    items = [
        HttpRequest(
            site.page(
                '/E0.csv', lambda visit: (begun.acquire(timeout=PATIENCE), visit.answer(200, CSV))
            )
        ),
        HttpRequest(site.page('/stalls', page)),
    ]
    results = fetch_all(items, wall_clock=lambda: NOW, monotonic_clock=clock, sleep=clock.sleep)
    assert next(results).content == CSV
    results.close()
    assert site.left.acquire(timeout=PATIENCE), 'the connection is still open'


def test_leaving_early_does_not_wait_for_a_pause(site):
    pages = (
        site.page('/E0.csv', lambda visit: visit.answer(200, CSV)),
        site.page('/busy', lambda visit: visit.answer(429, Retry_After='80')),
    )
    results = fetch_all(
        [HttpRequest(page) for page in pages],
        wall_clock=lambda: NOW,
        limits=FetchLimits(requests_per_second=None),
    )  # with the real clock
    assert next(results).status == 'new'
    results.close()
    assert threads() == []


def test_an_interrupt_closes_everything(site):
    "Also where polars is loaded, which keeps a signal from waking the thread that it is for."
    assert 'polars' in sys.modules
    page = site.page(
        '/',
        lambda visit: (
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT),
            visit.wait_for_client_to_leave(),
        ),
    )
    with pytest.raises(KeyboardInterrupt):
        list(fetch_all([HttpRequest(page)], wall_clock=lambda: NOW))
    assert threads() == []
    assert site.left.acquire(timeout=PATIENCE), 'the connection is still open'


def test_it_works_where_an_event_loop_is_running(site, fetch):
    page = site.page('/', lambda visit: visit.answer(200, CSV))

    async def cell_of_a_notebook() -> list[FetchResult]:
        return fetch(page)

    assert asyncio.run(cell_of_a_notebook())[0].content == CSV


# Secrets

SECRETS = ('hush-header-xyz', 'Bearer hush-bearer-uvw', 'hush param/&+ ü-qxj')
PARTS = ('xyz', 'uvw', 'qxj')


def secret_item(url: str) -> HttpRequest:
    return HttpRequest(
        url,
        headers={'X-Auth-Token': SECRETS[0], 'Authorization': SECRETS[1]},
        params={'apiKey': SECRETS[2]},
    )


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    "Everything that a fetch may say: logs at every level, results, problems."
    caplog.set_level(logging.DEBUG)

    def told(*things: object) -> str:
        records = ''.join(
            f'{record.getMessage()} {record.args} {record.msg}' for record in caplog.records
        )
        return records + caplog.text + ''.join(f'{thing!r} {thing}' for thing in things)

    return told


def echo(visit: Visitor) -> None:
    "A server that repeats what it was told, wherever it can."
    path = urlsplit(visit.path).path
    heard = {
        'X-Echo': SECRETS[0],
        'X-Query': urlsplit(visit.path).query,
        'Set-Cookie': f'token={SECRETS[0]}',
    }
    if path == '/moved':
        visit.answer(302, Location='/echo?' + urlsplit(visit.path).query, **heard)
    elif path == '/odd':
        visit.send(b'nonsense ' + SECRETS[0].encode() + b'\r\n\r\n')
    elif path == '/cut':
        visit.start(200, Content_Length=100, **heard)
    elif path == '/encoded':
        visit.answer(200, CSV, Content_Encoding=SECRETS[0])
    elif path == '/lost':
        visit.answer(302, Location=f'http://127.0.0.1:bad/{SECRETS[0]}', **heard)
    else:
        visit.answer(
            {'/401': 401, '/429': 429, '/500': 500}.get(path, 200), SECRETS[0].encode(), **heard
        )
    if path in ('/odd', '/cut'):
        visit.hang_up()


@pytest.mark.parametrize(
    'path', ['/echo', '/moved', '/401', '/429', '/500', '/odd', '/cut', '/lost']
)
def test_secrets_are_never_seen(site, fetch, told, path):
    for page in (path, '/echo'):
        site.page(page, echo)
    item = secret_item(site.url(path) + '?page=1')
    (fetched,) = fetch(item, retries=1)
    heard = site.seen[-1]
    assert parse_qs(urlsplit(heard).query)['apiKey'] == [SECRETS[2]]  # the server did get them
    assert (site.headers[-1]['X-Auth-Token'], site.headers[-1]['Authorization']) == SECRETS[:2]
    text = told(fetched, item)
    assert 'HTTP Request: GET' in text or path == '/odd'
    assert 'receive_response_headers' in text
    assert [part for part in PARTS if part in text] == []
    assert fetched.url == item.url


def test_secrets_are_not_seen_when_nobody_answers(fetch, told):
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    (fetched,) = fetch(secret_item(f'http://127.0.0.1:{port}/'))
    assert [part for part in PARTS if part in told(fetched)] == []


def test_secrets_are_not_seen_in_an_error_nobody_foresaw(site, clock, told):
    def now() -> datetime:
        raise RuntimeError(f'{SECRETS[0]} {SECRETS[2]!r}')

    page = site.page('/', lambda visit: visit.answer(500))
    (fetched,) = fetch_all(
        [secret_item(page)], wall_clock=now, monotonic_clock=clock, sleep=clock.sleep
    )
    assert (fetched.error_type, fetched.error) == ('RuntimeError', "*** '***'")
    assert [part for part in PARTS if part in told(fetched)] == []


def test_the_filter_is_what_hides_them_and_it_goes_with_the_fetch(site, fetch, told):
    page = site.page('/', lambda visit: visit.answer(200))
    loggers = [
        logging.getLogger(name) for name in ('httpx', 'httpcore.connection', 'httpcore.http11')
    ]
    before = [list(logger.filters) for logger in loggers]
    fetch(secret_item(page))
    assert PARTS[2] not in told()
    assert [list(logger.filters) for logger in loggers] == before
    httpx.get(page, params={'apiKey': SECRETS[2]})
    assert PARTS[2] in told()


def test_what_is_logged_beside_secrets_stays_readable(site, fetch, told):
    page = site.page('/E0.csv', lambda visit: visit.answer(200))
    fetch(secret_item(page))
    assert f'HTTP Request: GET {page}?apiKey=*** "HTTP/1.1 200 OK"' in told()


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=6, max_size=20))
def test_every_spelling_of_a_secret_is_masked(secret):
    spellings = secret_variants([HttpRequest('http://host', params={'apiKey': secret})])
    url = str(httpx.URL('http://host').copy_merge_params({'apiKey': secret}))
    for text in (secret, url, quote(secret, safe=''), repr(secret), repr(secret.encode())):
        assert mask_secrets(text, spellings).strip('\'"') in (
            '***',
            'http://host?apiKey=***',
            "b'***",
            'b"***',
        )


def test_a_password_in_a_url_is_refused_without_repeating_it():
    with pytest.raises(ValueError, match='give it in headers instead') as caught:
        HttpRequest('https://analyst:hush@example.org/E0.csv')
    assert 'hush' not in str(caught.value)
    assert HttpRequest('https://example.org/a@b?c=d@e').url == 'https://example.org/a@b?c=d@e'


# Limits


@pytest.mark.parametrize(
    ('name', 'value', 'error'),
    [
        ('timeout', 0, 'above 0'),
        ('total_timeout', -1, 'above 0'),
        ('max_bytes', 0, 'at least 1'),
        ('retries', -1, 'at least 0'),
        ('backoff', -1, 'at least 0'),
        ('max_wait', -1, 'at least 0'),
        ('concurrency', 0, 'at least 1'),
        ('requests_per_second', 0, 'above 0'),
        ('timeout', math.nan, 'above 0'),
    ],
)
def test_limits_must_make_sense(name, value, error):
    with pytest.raises(ValueError, match=f'{name} is {value}; it must be {error}'):
        FetchLimits(**{name: value})
