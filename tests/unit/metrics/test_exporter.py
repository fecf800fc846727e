"Metrics of the exporter against the tables, and its behaviour when rows or databases vanish."

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open_metrics
from prometheus_client.parser import text_string_to_metric_families
from scipy.optimize import brentq
from scipy.stats import ks_2samp
from sqlalchemy import Engine

from football_pred.api.telemetry import Telemetry
from football_pred.core import schema
from football_pred.core.as_of import read_matches
from football_pred.core.database import open_database
from football_pred.core.job_runs import begin_run, finish_run
from football_pred.core.ledger_log import HeadFile
from football_pred.core.settings import Settings
from football_pred.features.build import FEATURES
from football_pred.features.offline import FeatureStoreConfig, read_offline_features
from football_pred.forecasts.ledger import append_forecasts, settle_forecasts
from football_pred.forecasts.predict import forecast_fixtures
from football_pred.metrics.drift import CALENDAR_FEATURES
from football_pred.metrics.exporter import CycleResult, Exporter, MetricCollectors, collector_status
from football_pred.registry.registry import connect_registry
from tests.support.exporter_day import AS_OF, WINTER, now, record_run
from tests.support.live_forecasts import (
    CLOCK_GUARDS,
    SURE_DRAW,
    drop_guards,
    unknown_results,
)
from tests.support.server import COMMAND, wait_until
from tests.support.services import free_port

ROOT = Path(__file__).parents[3]
NEWEST = 200


@pytest.fixture
def home(day: Path, tmp_path: Path) -> Path:
    "A copy of that home, to be changed."
    return Path(shutil.copytree(day, tmp_path / 'home'))


def exporter_of(home: Path, **options: Any) -> Exporter:
    lag = lambda: {('relay', 'results'): 3}  # noqa: E731
    return Exporter(
        MetricCollectors(
            Settings(home=home, **options), now, lambda: AS_OF, ['collect', 'simulate'], lag
        )
    )


def refreshed(home: Path, **options: Any) -> Exporter:
    exporter = exporter_of(home, **options)
    exporter.run_all()
    return exporter


@pytest.fixture(scope='module')
def day_exporter(day: Path) -> Exporter:
    return refreshed(day)


def value(exporter: Exporter, name: str, **labels: str) -> float | None:
    return exporter.registry.get_sample_value(name, labels)


def counters(exporter: Exporter) -> dict[tuple[str, Any], float]:
    "Everything that may not go back, but for the queries of the process itself."
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in exporter.registry.collect()
        if family.type in ('counter', 'histogram') and 'query' not in family.name
        for sample in family.samples
    }


def rows(home: Path, query: str) -> pl.DataFrame:
    "What the tables hold, read without our code."
    with sqlite3.connect(home / 'football.db') as connection:
        cursor = connection.execute(query)
        return pl.DataFrame(
            cursor.fetchall(),
            schema=[column[0] for column in cursor.description],
            orient='row',
            infer_schema_length=None,
        )


def names_of(page: str) -> set[str]:
    "Names of metrics as the README writes them; when a counter began is not one of its own."
    return {
        family.name + ('_total' if family.type == 'counter' else '')
        for family in text_string_to_metric_families(page)
        if not family.name.endswith('_created')
    }


def listed_names(who: str) -> set[str]:
    "Names of metrics in the table of the guide."
    notebook = json.loads((ROOT / 'nbs' / 'guide' / 'metrics.ipynb').read_text())
    outputs = [output for cell in notebook['cells'] for output in cell.get('outputs', [])]
    text = ''.join(''.join(output['data']['text/markdown']) for output in outputs)
    return set(re.findall(rf'^\| `(football_\w+)` \|.*\| {who}[^|]* \|$', text, re.M))


@pytest.fixture
def on_postgresql(postgresql: Engine, home: Path) -> Exporter:
    url = postgresql.url.render_as_string(hide_password=False)
    return refreshed(home, database_url=url)


def test_the_guide_lists_every_metric_and_no_other(day_exporter, on_postgresql, home):
    "Every metric that applies is exported; connections only of PostgreSQL."
    with socket.create_server(('127.0.0.1', 0)) as listening:
        configured = refreshed(home, api_url=f'http://127.0.0.1:{listening.getsockname()[1]}')
    seen = set().union(
        *[
            names_of(generate_latest(one.registry).decode())
            for one in (day_exporter, on_postgresql, configured)
        ]
    )
    assert seen == listed_names('exporter')
    assert len(seen) >= 23
    assert names_of(generate_latest(Telemetry().registry).decode()) == listed_names('server')


def test_every_collector_is_up(day_exporter):
    assert {
        name: collector_status(turn).reason for name, turn in day_exporter.cycles.items()
    } == dict.fromkeys(day_exporter.cycles, '')


def test_counts_are_those_of_the_tables(day_exporter, day):
    made = rows(day, 'SELECT league, model, kind, count(*) n FROM predictions GROUP BY 1, 2, 3')
    assert len(made) == 4
    assert set(made['kind']) == {'live', 'replay'}
    for league, model, kind, count in made.rows():
        about = {'league': league, 'model': model, 'kind': kind}
        assert value(day_exporter, 'football_forecasts_sealed_total', **about) == count
    scored = (
        'SELECT p.league, p.model, count(*) n FROM settlements s JOIN predictions p '
        "USING (prediction_id) WHERE revision = 1 AND p.kind = 'live' GROUP BY 1, 2"
    )
    for league, model, count in rows(day, scored).rows():
        assert (
            value(day_exporter, 'football_forecasts_settled_total', league=league, model=model)
            == count
            > NEWEST
        )
    for table in schema.metadata.tables:
        assert (
            value(day_exporter, 'football_table_row_count', table=table)
            == rows(day, f'SELECT count(*) n FROM {table}')['n'][0]
        ), table
    for source, kind, status, count in rows(
        day,
        'SELECT data_source, collection_type, status, count(*) n FROM data_collection_logs '
        'GROUP BY 1, 2, 3',
    ).rows():
        assert (
            value(
                day_exporter,
                'football_data_collection_total',
                data_source=source,
                collection_type=kind,
                status=status,
            )
            == count
        )
    for job, state, count in rows(
        day, 'SELECT job, state, count(*) n FROM job_runs GROUP BY 1, 2'
    ).rows():
        assert (
            value(day_exporter, 'football_scheduler_task_runs_total', job=job, state=state) == count
        )
    assert (
        value(day_exporter, 'football_data_cleaning_total', status='succeeded')
        == value(day_exporter, 'football_data_cleaning_total', status='failed')
        == 1
    )
    assert value(day_exporter, 'football_data_cleaning_errors_total', error_type='CheckFailed') == 1
    assert value(day_exporter, 'football_scheduler_task_delay_seconds_count', job='clean') == 1


def test_durations_are_those_of_the_runs(day_exporter, day):
    took = rows(day, 'SELECT job, started_at, finished_at FROM job_runs').with_columns(
        seconds=(
            pl.col('finished_at').str.to_datetime() - pl.col('started_at').str.to_datetime()
        ).dt.total_microseconds()
        / 1e6
    )
    for (job,), own in took.group_by('job'):
        assert value(
            day_exporter, 'football_scheduler_task_duration_seconds_sum', job=job
        ) == pytest.approx(own['seconds'].sum())
        assert (
            value(
                day_exporter, 'football_scheduler_task_duration_seconds_bucket', job=job, le='10.0'
            )
            == (own['seconds'] <= 10).sum()
        )


def test_where_jobs_stand(day_exporter, day):
    last = rows(day, 'SELECT job, state, max(started_at) FROM job_runs GROUP BY job')
    for job, state, _ in last.rows():
        assert value(day_exporter, 'football_job_last_state', job=job, state=state) == 1
    assert value(day_exporter, 'football_job_last_state', job='simulate', state='never') == 1
    assert (
        value(day_exporter, 'football_job_last_success_timestamp_seconds', job='simulate') is None
    )
    assert value(day_exporter, 'football_job_stuck', job='clean') == 0
    assert value(day_exporter, 'football_ledger_problems') == 0
    assert (
        value(day_exporter, 'football_backup_last_success_timestamp_seconds') == AS_OF.timestamp()
    )


def power(prices: tuple[float, ...]) -> list[float]:
    "Probabilities by the power method: the exponent that makes them sum to 1."
    exponent = brentq(lambda k: sum((1 / one) ** k for one in prices) - 1, 0.1, 10, xtol=1e-15)
    return [(1 / one) ** exponent for one in prices]


def rps() -> pl.Expr:
    home, away = (
        (pl.col('home_goals') > pl.col('away_goals')).cast(pl.Float64),
        (pl.col('home_goals') < pl.col('away_goals')).cast(pl.Float64),
    )
    return (((pl.col('p_home') - home) ** 2 + (pl.col('p_away') - away) ** 2) / 2).alias('rps')


def record(home: Path, model: str) -> pl.DataFrame:
    "Latest settled matches of a model, with its latest forecasts and the closing prices."
    scored = rows(
        home,
        f"""SELECT p.match_id, p.kickoff, p.as_of, p.sequence, p_home, p_draw, p_away, s.revision, home_goals, away_goals
        FROM predictions p JOIN settlements s USING (prediction_id) WHERE model = '{model}' AND p.kind = 'live'""",
    ).sort('as_of', 'sequence', 'revision')
    own = scored.unique('match_id', keep='last').sort('kickoff', 'match_id').tail(NEWEST)
    prices = rows(
        home,
        "SELECT match_id, selection, price FROM odds WHERE phase = 'closing' AND market = '1x2'",
    ).pivot('selection', index='match_id')
    fair = [power(row[1:]) for row in prices.select('match_id', 'home', 'draw', 'away').rows()]
    market = pl.DataFrame(fair, schema=['m_home', 'm_draw', 'm_away'], orient='row').with_columns(
        prices['match_id']
    )
    return own.join(market, on='match_id', how='left')


def test_the_record_is_right_beside_the_market_on_the_same_matches(day_exporter, day):
    for model in ('E0-dixon-coles', 'E0-shadow'):
        own = record(day, model)
        about = {'league': 'E0', 'model': model}
        assert (
            value(day_exporter, 'football_rolling_matches', matches='all', **about)
            == own.height
            == NEWEST
        )
        assert value(
            day_exporter, 'football_rolling_rps', matches='all', forecaster='model', **about
        ) == pytest.approx(own.select(rps())['rps'].mean())
        priced = own.drop_nulls('m_home')
        assert (
            value(day_exporter, 'football_rolling_matches', matches='priced', **about)
            == priced.height
        )
        assert 100 < priced.height < NEWEST
        market = priced.with_columns(p_home='m_home', p_draw='m_draw', p_away='m_away')
        ours, theirs = (one.select(rps())['rps'] for one in (priced, market))
        assert value(
            day_exporter, 'football_rolling_rps', matches='priced', forecaster='model', **about
        ) == pytest.approx(ours.mean())
        assert value(
            day_exporter, 'football_rolling_rps', matches='priced', forecaster='market', **about
        ) == pytest.approx(theirs.mean(), abs=1e-9)
        assert value(
            day_exporter, 'football_rolling_rps_difference', against='market', **about
        ) == pytest.approx((ours - theirs).mean(), abs=1e-9)
        low, high = (
            value(day_exporter, f'football_rolling_rps_difference_{end}', against='market', **about)
            for end in ('low', 'high')
        )
        assert low < (ours - theirs).mean() < high
        happened = (
            pl.when(pl.col('home_goals') > pl.col('away_goals'))
            .then('p_home')
            .when(pl.col('home_goals') < pl.col('away_goals'))
            .then('p_away')
            .otherwise('p_draw')
        )
        hit = happened == pl.max_horizontal('p_home', 'p_draw', 'p_away')
        assert (
            value(
                day_exporter,
                'football_rolling_accuracy_ratio',
                matches='all',
                forecaster='model',
                **about,
            )
            == own.select(hit).to_series().mean()
        )
        loss = own.select(-happened.log()).to_series().mean()
        assert value(
            day_exporter, 'football_rolling_log_loss', matches='all', forecaster='model', **about
        ) == pytest.approx(loss)


def test_the_challenger_is_compared_with_the_champion(day_exporter, day):
    ours, theirs = (
        record(day, model).select('match_id', rps()) for model in ('E0-shadow', 'E0-dixon-coles')
    )
    both = ours.join(theirs, on='match_id')
    about = {'league': 'E0', 'model': 'E0-shadow', 'against': 'champion'}
    assert value(day_exporter, 'football_rolling_rps_difference', **about) == pytest.approx(
        (both['rps'] - both['rps_right']).mean()
    )
    assert value(day_exporter, 'football_rolling_rps_difference_matches', **about) == both.height


def test_the_base_rate_knew_what_was_known(day_exporter, day):
    own = record(day, 'E0-dixon-coles')
    played = rows(
        day,
        "SELECT result_known_at, home_goals, away_goals FROM matches WHERE league = 'E0' AND status = 'finished'",
    )
    total = 0.0
    for (as_of,), part in own.group_by('as_of'):
        known = played.filter(pl.col('result_known_at') <= as_of)
        wins, losses = (
            (known['home_goals'] > known['away_goals']).sum(),
            (known['home_goals'] < known['away_goals']).sum(),
        )
        chances = [
            (count + 1) / (known.height + 3)
            for count in (wins, known.height - wins - losses, losses)
        ]
        said = part.with_columns(
            p_home=pl.lit(chances[0]), p_draw=pl.lit(chances[1]), p_away=pl.lit(chances[2])
        )
        total += said.select(rps())['rps'].sum()
    found = value(
        day_exporter,
        'football_rolling_rps',
        league='E0',
        model='E0-dixon-coles',
        matches='all',
        forecaster='base_rate',
    )
    assert found == pytest.approx(total / own.height)


def test_drift_is_that_of_the_features(day_exporter, day):
    features, month = (
        read_offline_features(FeatureStoreConfig(day / 'features'), 'matches'),
        timedelta(days=30),
    )
    before = features.filter(
        (pl.col('kickoff') <= AS_OF) & (pl.col('kickoff') > AS_OF - timedelta(days=1095))
    )
    after = features.filter(
        (pl.col('kickoff') > AS_OF - month) & (pl.col('kickoff') <= AS_OF + timedelta(days=7))
    )
    moved = {
        one.name: (
            one.view,
            ks_2samp(before[one.name].drop_nulls(), after[one.name].drop_nulls()).statistic,
        )
        for one in FEATURES
        if one.name not in CALENDAR_FEATURES and len(after[one.name].drop_nulls()) >= 20
    }
    assert moved
    for view in {view for view, _ in moved.values()}:
        assert value(
            day_exporter, 'football_feature_drift_ks', league='E0', view=view
        ) == pytest.approx(max(ks for own, ks in moved.values() if own == view))
    top = max(moved, key=lambda name: moved[name][1])
    assert value(
        day_exporter, 'football_feature_drift_top_ks', league='E0', feature=top
    ) == pytest.approx(moved[top][1])
    assert (
        value(day_exporter, 'football_feature_drift_matches', league='E0', sample='latest')
        == after.height
    )


def test_upcoming_fixtures_have_forecasts(day_exporter, day, home):
    week = f"kickoff > '{AS_OF:%Y-%m-%d %H:%M:%S}' AND kickoff <= '{AS_OF + timedelta(days=14):%Y-%m-%d %H:%M:%S}'"
    later = AS_OF + timedelta(days=7)
    expected = rows(day, f'SELECT count(*) n FROM matches WHERE {week}')['n'][0]
    exporter = Exporter(MetricCollectors(Settings(home=home), now, lambda: later))
    exporter.run_all()
    assert expected > 0
    seen = [
        value(exporter, f'football_fixtures{what}', league='E0')
        for what in ('', '_with_forecast', '_without_forecast', '_without_features')
    ]
    assert seen == [expected, expected, 0, 0]
    assert value(day_exporter, 'football_results_overdue', league='E0') == 0


def test_forecasts_and_overdue_results_that_are_missing_are_counted(home):
    with sqlite3.connect(home / 'football.db') as connection:
        chosen = [
            one
            for (one,) in connection.execute(
                "SELECT match_id FROM matches WHERE kickoff > '2026-04-10' ORDER BY kickoff LIMIT 3"
            )
        ]
        hole = ','.join('?' * 3)
        connection.execute(
            f"UPDATE matches SET status = 'scheduled', home_goals = NULL, away_goals = NULL, result_known_at = NULL "
            f'WHERE match_id IN ({hole})',
            chosen,
        )
    exporter = Exporter(MetricCollectors(Settings(home=home), now))
    exporter.run_all()
    assert value(exporter, 'football_results_overdue', league='E0') == 3


def test_a_missing_database_is_reported_and_no_sample_is_stale(home):
    exporter = refreshed(home)
    before = counters(exporter)
    (home / 'football.db').rename(home / 'away.db')
    exporter.run_all()
    for name in ('collection', 'jobs', 'ledger', 'record', 'fixtures', 'tables'):
        assert value(exporter, 'football_collector_up', collector=name) == 0
        assert 'there is no database' in collector_status(exporter.cycles[name]).reason
    assert value(exporter, 'football_collector_up', collector='backups') == 1
    assert (
        value(
            exporter, 'football_forecasts_sealed_total', league='E0', model='E0-shadow', kind='live'
        )
        is None
    )
    assert not (home / 'football.db').exists()
    (home / 'away.db').rename(home / 'football.db')
    exporter.run_all()
    assert value(exporter, 'football_collector_up', collector='ledger') == 1
    assert counters(exporter) == before


def test_a_ledger_that_was_put_in_its_place_is_read_from_the_start(home, tmp_path):
    exporter = refreshed(home)
    for name in ('football.db', 'football.db-wal', 'football.db-shm'):
        (home / name).unlink(missing_ok=True)
    open_database(Settings(home=home).database_dsn).dispose()
    exporter.run_all()
    assert (
        value(
            exporter, 'football_forecasts_sealed_total', league='E0', model='E0-shadow', kind='live'
        )
        is None
    )
    assert value(exporter, 'football_table_row_count', table='predictions') == 0


def test_counters_are_the_same_after_a_restart(home):
    "Half of the day before the exporter began, half of it while it looked on."
    settings = Settings(home=home)
    engine = open_database(settings.database_dsn)
    exporter = refreshed(home)
    before = counters(exporter)
    for i in range(3):
        record_run(
            engine,
            f'run {i}',
            'clean',
            ('failed', 'succeeded', 'timed_out')[i],
            error_type=('ValueError', None, 'TimedOut')[i],
        )
    history = read_matches(engine, now(), ['E0'], ['2526']).filter(pl.col('kickoff') > AS_OF)
    model = connect_registry(**settings.registry_options).champion('E0').model
    tomorrow = history.with_columns(kickoff=pl.lit(now() + timedelta(days=1)))
    heads = HeadFile(settings.ledger_heads_path)
    with unknown_results(engine, AS_OF):
        forecasts = forecast_fixtures(model, tomorrow)
        append_forecasts(engine, heads, forecasts, 'E0-third', '1', AS_OF, 'd', 'f', 'by hand')
    exporter.run_all()
    assert (
        value(exporter, 'football_forecasts_open', league='E0', model='E0-third') == history.height
    )
    settle_forecasts(engine, heads, read_matches(engine, now()), now(), 'by hand')
    exporter.run_all()
    assert value(exporter, 'football_forecasts_open', league='E0', model='E0-third') == 0
    assert (
        value(exporter, 'football_forecasts_settled_total', league='E0', model='E0-third')
        == history.height
    )
    after = counters(exporter)
    assert all(after[key] >= count for key, count in before.items())
    assert after != before
    assert counters(refreshed(home)) == after


def test_counters_do_not_go_back_when_rows_vanish(home):
    exporter = refreshed(home)
    before = counters(exporter)
    with sqlite3.connect(home / 'football.db') as connection:
        for table in ('job_runs', 'data_collection_logs'):
            connection.execute(f'DELETE FROM {table}')
    for tally in (exporter.collectors.state.runs, exporter.collectors.state.fetches):
        tally._next_count_at = 0
    exporter.run_all()
    assert counters(exporter) == before


def test_no_command_deletes_what_is_counted():
    "Counters would go back with the next process."
    for path in (ROOT / 'football_pred').rglob('*.py'):
        for table in ('job_runs', 'data_collection_logs', 'predictions', 'settlements'):
            assert not re.search(
                rf'\bdelete\({table}\)|\b{table}\.delete\(|DELETE FROM {table}', path.read_text()
            ), path


def test_a_corrected_result_changes_the_record(home):
    exporter = refreshed(home)
    engine = open_database(Settings(home=home).database_dsn)
    last = record(home, 'E0-shadow')['match_id'][-1]
    with sqlite3.connect(home / 'football.db') as connection:
        connection.execute(
            'UPDATE matches SET home_goals = 9 - home_goals, away_goals = home_goals + 10 WHERE match_id = ?',
            [last],
        )
    heads = HeadFile(Settings(home=home).ledger_heads_path)
    finished = read_matches(engine, now())
    assert settle_forecasts(engine, heads, finished, now(), 'by hand').height == 2
    exporter.run_all()
    expected = record(home, 'E0-shadow').select(rps())['rps'].mean()
    assert value(
        exporter,
        'football_rolling_rps',
        league='E0',
        model='E0-shadow',
        matches='all',
        forecaster='model',
    ) == pytest.approx(expected)
    assert counters(refreshed(home)) == counters(exporter)


def forecast_samples(exporter):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in exporter.registry.collect()
        for sample in family.samples
        if re.match(r'football_(rolling|forecast_|forecasts_(settled|open))', sample.name)
    }


def test_replays_are_counted_and_move_no_figure(home):
    "Forecasts that are made when the result is known, and are all wrong."
    exporter = refreshed(home)
    before = forecast_samples(exporter)
    settings = Settings(home=home)
    engine = open_database(settings.database_dsn)
    heads = HeadFile(settings.ledger_heads_path)
    season = read_matches(engine, now(), ['E0'], ['2526'])
    played = season.filter(pl.col('kickoff') > WINTER).tail(150)
    model = connect_registry(**settings.registry_options).champion('E0').model
    wrong = forecast_fixtures(model, played).with_columns(**SURE_DRAW)
    for name in ('E0-shadow', 'E0-dixon-coles'):
        append_forecasts(engine, heads, wrong, name, 'late', WINTER, 'd', 'f', 'by hand')
    finished = read_matches(engine, now())
    assert settle_forecasts(engine, heads, finished, now(), 'by hand').height == 300
    sealed = 'football_forecasts_sealed_total'
    about = {'league': 'E0', 'model': 'E0-shadow', 'kind': 'replay'}
    replays = value(exporter, sealed, **about)
    exporter.run_all()
    assert value(exporter, sealed, **about) == replays + 150
    after = forecast_samples(exporter)
    assert len(before) > 30
    assert after == before


def test_missing_and_changed_guards_are_counted(home):
    engine = open_database(Settings(home=home).database_dsn)
    drop_guards(engine, CLOCK_GUARDS)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            'CREATE TRIGGER predictions_clock BEFORE INSERT ON predictions BEGIN SELECT 1; END'
        )
    exporter = refreshed(home)
    assert value(exporter, 'football_ledger_guards_missing') == 2
    with engine.begin() as connection:
        schema.renew_guards(connection)
    exporter.run_all()
    assert value(exporter, 'football_ledger_guards_missing') == 0


def test_what_was_read_is_not_read_again(home):
    "A turn after which nothing happened asks for no forecast, whatever the ledger holds."
    exporter = refreshed(home)
    ledger = exporter.collectors.state.ledger
    fetched: Counter[str] = Counter()
    with exporter.collectors.state.database.connect() as connection:
        inner = connection.execute

        def counted(query: Any, *rest: Any) -> Any:
            found = inner(query, *rest)
            if 'predictions' not in str(query):
                return found
            kept = found.all()
            fetched['rows'] += len(kept)
            return Rows(kept)

        connection.execute = counted  # type: ignore[method-assign]
        ledger.update(connection)
    assert fetched['rows'] == 1  # the last one, to see whether it is still the same ledger


class Rows(list):
    "Rows of a query that were fetched before."

    def all(self) -> list:
        return self

    def scalar(self) -> Any:
        return self[0][0] if self else None


def test_labels_are_bounded(home):
    with sqlite3.connect(home / 'football.db') as connection:
        columns = [row[1] for row in connection.execute('PRAGMA table_info(job_runs)')]
        kept = dict(
            zip(
                columns,
                connection.execute("SELECT * FROM job_runs WHERE run_id = 'second'").fetchone(),
                strict=True,
            )
        )
        for i in range(700):
            made = kept | {'run_id': f'bad {i}', 'error_type': f'Error{i}'}
            connection.execute(
                f"INSERT INTO job_runs VALUES ({','.join('?' * len(columns))})",
                [made[name] for name in columns],
            )
    exporter = refreshed(home)
    failures = [
        sample
        for family in exporter.registry.collect()
        if family.name == 'football_scheduler_task_failures'
        for sample in family.samples
    ]
    assert len(failures) <= 501
    assert sum(sample.value for sample in failures) == 701


def test_a_late_collector_has_no_samples(home):
    exporter = refreshed(home)
    stayed = exporter.cycles['home']
    exporter.cycles['home'] = CycleResult(stayed.samples, '', stayed.succeeded_at, 0, fresh_until=0)
    assert value(exporter, 'football_collector_up', collector='home') == 0
    assert value(exporter, 'football_home_free_bytes') is None
    assert 'has not come back' in collector_status(exporter.cycles['home']).reason


def test_a_run_without_a_heartbeat_is_stuck(home):
    engine = open_database(Settings(home=home).database_dsn)
    about = dict(
        run_id='stuck',
        job='train',
        pipeline=None,
        key='k',
        params={},
        as_of=AS_OF,
        upstream=[],
        lease='train',
    )
    begin_run(engine, about, now() - timedelta(hours=2))
    exporter = refreshed(home)
    assert [
        value(exporter, f'football_job_{what}', job='train') for what in ('running', 'stuck')
    ] == [1, 1]
    finish_run(engine, 'stuck', 'lost', now())
    exporter.run_all()
    assert [
        value(exporter, f'football_job_{what}', job='train') for what in ('running', 'stuck')
    ] == [0, 0]
    assert (
        value(exporter, 'football_scheduler_task_failures_total', job='train', error_type='lost')
        == 1
    )


def test_connections_of_postgresql(on_postgresql):
    down = {
        name: collector_status(turn).reason
        for name, turn in on_postgresql.cycles.items()
        if not collector_status(turn).up
    }
    assert down == {}
    assert value(on_postgresql, 'football_database_connections', state='active') >= 1


def test_reasons_hold_no_secret(home):
    exporter = refreshed(
        home, database_url=f'postgresql+psycopg://football:sesame@127.0.0.1:{free_port()}/football'
    )
    reason = collector_status(exporter.cycles['ledger']).reason
    assert 'OperationalError' in reason
    assert 'sesame' not in reason


def lint(page: bytes) -> list[str]:
    found = subprocess.run(['promtool', 'check', 'metrics'], input=page, capture_output=True)
    return (found.stdout + found.stderr).decode().splitlines()


@pytest.mark.skipif(
    not shutil.which('promtool'), reason='promtool of the package prometheus is not installed'
)
def test_promtool_has_nothing_to_say(day_exporter, on_postgresql):
    "But for one name of the original platform, which is kept."
    kept = 'football_table_row_count non-histogram and non-summary metrics should not have "_count" suffix'
    for exporter in (day_exporter, on_postgresql):
        assert lint(generate_latest(exporter.registry)) == [kept]


def test_open_metrics_point_to_runs(day_exporter, day):
    families = {
        family.name: family
        for family in read_open_metrics(open_metrics(day_exporter.registry).decode())
    }
    runs = set(rows(day, 'SELECT run_id FROM job_runs')['run_id'])
    buckets = [
        sample
        for sample in families['football_scheduler_task_duration_seconds'].samples
        if sample.exemplar
    ]
    assert buckets
    assert {sample.exemplar.labels['run_id'] for sample in buckets} <= runs
    failures = families['football_scheduler_task_failures'].samples
    assert [sample.exemplar.labels['run_id'] for sample in failures] == ['second']


@pytest.fixture
def process(home: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    with (home / 'log').open('w') as log:
        command = [COMMAND, 'exporter', '--port', str(port := free_port()), '--interval', '0.2']
        process = subprocess.Popen(
            command, env=os.environ | {'FOOTBALL_HOME': str(home)}, stderr=log, stdout=log
        )
        yield process, port
        if process.poll() is None:
            process.kill()
        process.wait()


def asked(address: str, **headers: str) -> httpx.Response | None:
    try:
        return httpx.get(address, headers=headers, timeout=60)
    except httpx.TransportError:
        return None


def test_the_command(process, home):
    "It serves both formats, follows a database that vanishes and returns, and ends on SIGTERM."
    server, port = process
    address = f'http://127.0.0.1:{port}'

    def collectors() -> dict[str, Any]:
        return answer.json()['collectors'] if (answer := asked(address)) else {}

    def until(condition: Callable[[], bool]) -> None:
        wait_until(lambda: condition() or server.poll() is not None, 600)
        assert server.poll() is None, (home / 'log').read_text()

    until(lambda: bool(collectors()) and all(one['up'] for one in collectors().values()))
    plain, other = (
        asked(f'{address}/metrics'),
        asked(f'{address}/metrics', accept='application/openmetrics-text; version=1.0.0'),
    )
    assert plain.headers['content-type'].startswith('text/plain; version=0.0.4')
    sealed = 'football_forecasts_sealed_total{kind="live",league="E0",model="E0-shadow"}'
    assert sealed in plain.text
    assert other.headers['content-type'].startswith('application/openmetrics-text')
    assert other.text.endswith('# EOF\n')
    second = subprocess.run(
        [COMMAND, 'exporter', '--port', str(port)],
        env=os.environ | {'FOOTBALL_HOME': str(home)},
        capture_output=True,
        text=True,
    )
    assert second.returncode == 2
    assert f'cannot listen on 127.0.0.1 port {port}: Address already in use' in second.stderr
    (home / 'football.db').rename(home / 'away.db')
    until(lambda: 'there is no database' in collectors()['ledger']['reason'])
    assert 'football_collector_up{collector="ledger"} 0.0' in asked(f'{address}/metrics').text
    (home / 'away.db').rename(home / 'football.db')
    until(lambda: collectors()['ledger']['up'])
    lines = [json.loads(line) for line in (home / 'log').read_text().splitlines()]
    assert {'collector ledger failed', 'collector ledger is back'} <= {
        line['message'] for line in lines
    }
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) in (0, -signal.SIGTERM)
    assert 'Traceback' not in (home / 'log').read_text().split('is back')[-1]
    with socket.create_server(('127.0.0.1', port)):
        pass


def test_registries_do_not_meet(day_exporter):
    assert day_exporter.registry is not Telemetry().registry
