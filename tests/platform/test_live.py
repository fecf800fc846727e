"Going live through the command line: another source, a source that is down, pages that are not what they should be."

import os
import subprocess
import sys

import polars as pl
import pytest
from sqlalchemy import select

from football_pred.core import schema
from football_pred.core.database import count_rows, open_database, read_frame
from football_pred.core.settings import Settings
from tests.support.pages import Host


def call(home, url, *arguments):
    return subprocess.run(
        [sys.executable, '-c', 'from football_pred.cli import main; main()', *arguments],
        text=True,
        capture_output=True,
        env=os.environ | {'FOOTBALL_HOME': str(home), 'FOOTBALL_FOOTBALL_DATA_UK_URL': url},
    )


@pytest.fixture
def host(shared_data):
    with Host() as host:
        for season in ('2223', '2324', '2425'):
            host.pages[f'/mmz4281/{season}/E0.csv'] = (
                shared_data / f'football_data_uk/E0_{season}.csv'
            )
        host.pages['/fixtures.csv'] = shared_data / 'football_data_uk/fixtures.csv'
        yield host


def told(engine):
    table = schema.data_collection_logs
    rows = read_frame(
        engine, select(table.c.url, table.c.status, table.c.error_type).order_by(table.c.start_time)
    )
    return {
        url.rsplit('/', 2)[-2 if 'mmz' in url else -1]: (status, error)
        for url, status, error in rows.iter_rows()
    }


def test_what_fails_is_named_and_the_next_run_picks_up_what_is_missing(host, home, tmp_path):
    live = ('-p', 'source', 'football_data_uk', '-p', 'seasons', "['2223', '2324', '2425']")
    engine = open_database(Settings(home=home).database_dsn)
    down = call(home, 'http://127.0.0.1:9', 'run', 'daily', *live)
    assert all(
        words in down.stdout
        for words in ('failed is 4, expected at most 0', 'collect did not succeed')
    ), down.stdout
    assert down.returncode == 1
    assert set(told(engine).values()) == {('failed', 'connection')}
    web_page, cut = tmp_path / 'web.html', tmp_path / 'cut.csv'
    web_page.write_text('<html><title>Busy</title></html>')
    cut.write_bytes(host.pages['/mmz4281/2425/E0.csv'].read_bytes()[:20_000])
    pages, host.pages = (
        host.pages,
        host.pages | {'/mmz4281/2324/E0.csv': web_page, '/mmz4281/2425/E0.csv': cut},
    )
    half = call(home, host.url, 'run', 'collect', *live)
    assert (half.returncode, 'failed is 2, expected at most 0' in half.stdout) == (1, True), (
        half.stdout
    )
    state = {page: status for page, (status, _) in told(engine).items()}
    assert state == {
        '2223': 'success',
        '2324': 'failed',
        '2425': 'failed',
        'fixtures.csv': 'success',
    }
    host.pages, before = pages, host.answers.copy()
    assert call(home, host.url, 'run', 'collect', *live).returncode == 0
    assert (host.answers[200] - before[200], host.answers[304] - before[304]) == (
        2,
        2,
    )  # what had come is not sent again
    cleaned = call(
        home,
        host.url,
        'run',
        'clean',
        '-p',
        'seasons',
        "['2223', '2324', '2425']",
        '--as-of',
        '2025-08-01',
    )
    assert cleaned.returncode == 0, cleaned.stdout
    assert count_rows(engine)['matches'] >= 3 * 380
    again = call(home, host.url, 'replay', '--check')
    assert (again.returncode, 'equal row for row' in again.stdout) == (0, True), again.stdout
    engine.dispose()


def test_the_real_source_goes_all_the_way(host, home):
    "Three seasons of football-data.co.uk, with prices, to forecasts of the products that need them."
    arguments = (
        '-p',
        'source',
        'football_data_uk',
        '-p',
        'seasons',
        "['2425']",
        '--as-of',
        '2025-04-01',
    )
    first = call(
        home,
        host.url,
        'run',
        'collect',
        '-p',
        'source',
        'football_data_uk',
        '-p',
        'seasons',
        "['2223', '2324']",
    )
    assert first.returncode == 0, first.stdout
    done = call(home, host.url, 'run', 'daily', *arguments, '-p', 'model', 'market_blend')
    assert done.returncode == 0, done.stdout
    [forecasts] = (home / 'reports/backtest').glob('*/forecasts.parquet')
    frame = pl.read_parquet(forecasts)
    assert frame.columns == [
        'model',
        'league',
        'season',
        'date',
        'home',
        'away',
        'p_home',
        'p_draw',
        'p_away',
    ]
    assert {'goals_only', 'goals_plus_shots', 'prices_of_earlier_matches', 'market_blend'} <= set(
        frame['model']
    )
    engine = open_database(Settings(home=home).database_dsn)
    made = read_frame(engine, select(schema.predictions.c.model, schema.predictions.c.home_rate))
    engine.dispose()
    assert (sorted(made['model'].unique()), made.height > 50, made['home_rate'].null_count()) == (
        ['E0-market-blend'],
        True,
        0,
    )
    assert frame.select('model', 'date', 'home', 'away').is_duplicated().sum() == 0
