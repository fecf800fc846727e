"What the jobs backtest, predict, settle, simulate, monitor, collect and tidy decide."

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine

from football_pred.api.sample_service import store_sample_league
from football_pred.core import schema
from football_pred.core.as_of import mask_future_results
from football_pred.core.database import write_transaction
from football_pred.core.ledger_log import HeadFile
from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.core.settings import Settings
from football_pred.forecasts.ledger import append_forecasts, settle_forecasts
from football_pred.forecasts.predict import forecast_fixtures
from football_pred.forecasts.season_simulation import SimulatedSeason
from football_pred.jobs.backtesting import (
    BacktestModels,
    BacktestTargets,
    compare_with_market,
    report_omissions,
    select_models,
    skill_table,
)
from football_pred.jobs.collecting import count_fetches
from football_pred.jobs.forecasting import (
    ForecastRun,
    describe_kinds,
    forecast_leagues,
    refuse_hindsight,
    serving_models,
)
from football_pred.jobs.maintenance import partition_checks
from football_pred.jobs.monitoring import (
    NO_PROMETHEUS,
    OBJECTIVES,
    Measurement,
    PanelResult,
    monitoring_checks,
    panels_without_data,
)
from football_pred.jobs.settling import (
    Scoreboard,
    SettledRecord,
    build_scoreboard,
    challenger_scores,
    champion_checks,
    champion_scores,
    count_live,
    model_roles,
    read_record,
    settled_title,
)
from football_pred.jobs.simulating import (
    count_lost_points,
    count_seasons_without_one_champion,
    projected_tables,
)
from football_pred.models.serialization import ModelError
from football_pred.registry.registry import ModelVersion
from football_pred.reporting.dashboard_plots import PanelQuery
from tools.house import ROOT

AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
OVER = {
    'status': 'finished',
    'home_goals': 1,
    'away_goals': 0,
    'result_known_at': datetime(2099, 1, 1, tzinfo=UTC),
}


def version(name: str, trained_at: str = '2026-04-01T00:00+00:00') -> ModelVersion:
    return ModelVersion(name, name[-4:], None, {'as_of': trained_at}, 'copy', '1')


class Aliases:
    "A registry whose champions and challengers are given by league."

    def __init__(self, champions, challengers) -> None:
        self.champions = champions
        self.challengers = challengers

    def leagues(self):
        return sorted(self.champions)

    def champion(self, league):
        return self.champions[league]

    def challenger(self, league):
        return self.challengers.get(league)


def forecasts(model: str, home: float, outcomes: list[str]) -> pl.DataFrame:
    kickoffs = [AS_OF + timedelta(days=1 + day) for day in range(len(outcomes))]
    return pl.DataFrame(
        {
            'match_id': [f'E0-{day}' for day in range(len(outcomes))],
            'league': 'E0',
            'kickoff': kickoffs,
            'as_of': AS_OF,
            'home_team': 'Arsenal',
            'away_team': 'Chelsea',
            'p_home': home,
            'p_draw': (1 - home) / 2,
            'p_away': (1 - home) / 2,
            'outcome': outcomes,
        }
    ).select(pl.lit(model).alias('model'), pl.all())


@pytest.mark.parametrize(
    ('odds', 'omissions'), [(2.0, []), (None, ['market skipped for E0: no closing odds.'])]
)
def test_a_model_that_learns_from_odds_needs_odds(tmp_path, monkeypatch, odds, omissions):
    market = SimpleNamespace(learn_from='closing')
    goals = SimpleNamespace(learn_from='goals')
    estimators = {'market': market, 'goals': goals}
    monkeypatch.setattr(
        'football_pred.jobs.backtesting.new_model', lambda name, *_: estimators[name]
    )
    schema = {'league': pl.String, 'home_goals': pl.Int64, 'closing_home': pl.Float64}
    targets = pl.DataFrame([('E0', 1, odds)], schema=schema, orient='row')
    models = select_models({'market': {}, 'goals': {}}, targets, tmp_path)
    assert models.omissions == omissions
    assert 'goals' in models.estimators


def test_a_league_without_shots_beside_one_with_shots_is_named():
    schema = ['league', 'home_goals', 'home_shots_on_target', 'home_corners']
    targets = pl.DataFrame([('E0', 1, 4, 5), ('D2', 1, None, None)], schema=schema, orient='row')
    models = select_models({'goals_plus_shots': {}}, targets, ROOT / 'params/models')
    assert list(models.estimators) == ['goals_plus_shots']
    assert models.omissions == ['goals_plus_shots forecasts D2 without shots and corners.']


def test_omissions_are_reported():
    nothing = report_omissions(BacktestTargets(pl.DataFrame(), 0), BacktestModels({}, []))
    skipped = ['market skipped for E0: no closing odds.']
    both = report_omissions(BacktestTargets(pl.DataFrame(), 3), BacktestModels({}, skipped))
    assert nothing == []
    assert both == ['Skipped 3 matches played before any result was known.', *skipped]


def test_skill_is_measured_between_reference_and_closing_price():
    outcomes = ['home', 'home', 'draw', 'away', 'home']
    frames = [forecasts('base rate', 0.4, outcomes), forecasts('good', 0.6, outcomes)]
    odds = {'closing_home': 1.5, 'closing_draw': 4.0, 'closing_away': 6.0}
    history = (
        frames[0]
        .select('match_id')
        .with_columns(pl.lit(price).alias(name) for name, price in odds.items())
    )
    skill = skill_table(compare_with_market(pl.concat(frames), history), 'base rate')
    by_model = dict(skill.select('model', 'skill').iter_rows())
    assert by_model['base rate'] == 0
    assert by_model['closing price'] == 1


def test_hindsight_is_refused():
    refuse_hindsight(version('E0-goals'), AS_OF)
    with pytest.raises(ModelError, match='E0-goals oals has learned from results up to'):
        refuse_hindsight(version('E0-goals'), AS_OF - timedelta(minutes=1))


def test_champion_forecasts_before_challenger():
    champion = version('E0-champion')
    challenger = version('E0-challenger')
    registry = Aliases({'E0': champion, 'D1': champion}, {'E0': challenger})
    assert serving_models(registry, 'E0') == [champion, challenger]
    assert serving_models(registry, 'D1') == [champion]


def test_a_champion_that_is_also_challenger_counts_as_champion():
    registry = Aliases({'E0': version('same')}, {'E0': version('same')})
    assert model_roles(registry, ['E0', 'D1']) == {'same': 'champion'}


def test_scores_of_champion_and_challenger():
    outcomes = ['home', 'draw', 'home']
    champions = forecasts('champion', 0.5, outcomes)
    challengers = forecasts('challenger', 0.6, outcomes[:2])
    base_rates = [forecasts('base rate', 0.4, outcomes)]
    alone = Scoreboard(champions, champions, base_rates)
    both = Scoreboard(champions, pl.concat([champions, challengers]), base_rates)
    assert challenger_scores(alone).height == 0
    live = SettledRecord(champions, 'live', 3, 0)
    replayed = SettledRecord(champions, 'replay', 0, 3)
    assert champion_checks(pl.DataFrame(), live) == []
    checks = champion_checks(champion_scores(alone), live)
    assert [check.passed for check in checks] == [True] * 4
    assert all('replay' not in check.name for check in checks)
    checks = champion_checks(champion_scores(alone), replayed)
    assert [check.passed for check in checks] == [True] * 4
    assert all(check.name.endswith(' (replay)') for check in checks)
    assert set(challenger_scores(both)['matches']) == {2}


MIDWAY = datetime(2080, 9, 20, tzinfo=UTC)


@pytest.fixture
def coming(engine: Engine) -> pl.DataFrame:
    "Second half of a season of the far future, in the database as fixtures."
    matches = sample_matches(sample_strengths(8), start_year=2080)
    store_sample_league(engine, mask_future_results(matches, MIDWAY))
    return matches.filter(pl.col('kickoff') > MIDWAY)


def change_coming(engine: Engine, **columns: object) -> None:
    "Change columns of all matches that are to come."
    statement = schema.matches.update().where(schema.matches.c.kickoff > MIDWAY)
    with write_transaction(engine) as connection:
        connection.execute(statement.values(**columns))


class GoodModel:
    "A model that forecasts the same for every match."

    def predict_proba(self, matches: pl.DataFrame) -> np.ndarray:
        return np.tile([0.5, 0.3, 0.2], (matches.height, 1))


def test_a_day_whose_kickoffs_are_in_the_future_gives_live_forecasts(engine, home, coming):
    trained_on = {'as_of': MIDWAY.isoformat(), 'data_fingerprint': 'd'}
    champion = ModelVersion('SIM-good', '1', GoodModel(), trained_on, 'copy', '1')
    registry = Aliases({'SIM': champion}, {})
    settings = Settings(home=home)
    features = coming.select('match_id').head(0)

    def run() -> ForecastRun:
        return forecast_leagues(settings, engine, registry, features, ['SIM'], MIDWAY, 400)

    first = run()
    assert first.sealed == first.added == first.live == coming.height > 20
    assert set(first.forecasts['kind']) == {'live'}
    assert (
        describe_kinds(first) == f'{first.sealed} forecasts sealed: {first.live} live, 0 replays.'
    )
    change_coming(engine, **OVER)
    again = run()
    assert (again.added, again.live, again.replays) == (0, again.sealed, 0)  # as they were stored
    later = MIDWAY - timedelta(hours=1)
    trained_on['as_of'] = later.isoformat()
    late = forecast_leagues(settings, engine, registry, features, ['SIM'], later, 400)
    assert (late.added, late.live, late.replays) == (late.sealed, 0, late.sealed)
    assert f'0 live, {late.sealed} replays. Replays were made after' in describe_kinds(late)


def test_the_record_is_of_live_forecasts(engine, home, coming):
    "Of replays it is only where nothing else is settled, and says so."
    heads = HeadFile(Settings(home=home).ledger_heads_path)
    end = coming['result_known_at'].max()
    forecasts = forecast_fixtures(GoodModel(), coming)
    half = forecasts.height // 2

    def seal(rows: pl.DataFrame, version: str) -> pl.DataFrame:
        append_forecasts(engine, heads, rows, 'SIM-good', version, MIDWAY, 'd', 'f', 'run')
        return settle_forecasts(engine, heads, coming, end, 'run')

    change_coming(engine, **OVER)
    settled = seal(forecasts.tail(half), 'late')
    assert (settled.height, count_live(engine, settled)) == (half, 0)
    replayed = read_record(engine, end)
    assert (replayed.kind, replayed.live, replayed.replays) == ('replay', 0, half)
    assert set(replayed.forecasts['kind']) == {'replay'}
    assert 'no live forecast is settled' in settled_title(replayed, half, 0)
    change_coming(engine, status='scheduled')
    settled = seal(forecasts.head(3), 'early')
    assert (settled.height, count_live(engine, settled)) == (3, 3)
    record = read_record(engine, end)
    assert (record.kind, record.live, record.replays) == ('live', 3, half)
    registry = Aliases({'SIM': version('SIM-good')}, {})
    board = build_scoreboard(engine, registry, record.forecasts)
    scores = champion_scores(board)
    assert set(scores['matches']) == {3}
    change_coming(engine, status='finished')
    seal(forecasts.with_columns(p_home=0.0, p_draw=0.0, p_away=1.0), 'wrong')
    after = read_record(engine, end)
    assert (after.live, after.replays) == (3, half + forecasts.height)
    assert champion_scores(build_scoreboard(engine, registry, after.forecasts)).equals(scores)


def test_figures_of_a_simulation():
    season = SimulatedSeason(
        'E0',
        ['Arsenal', 'Burnley'],
        pl.DataFrame({'team': ['Arsenal', 'Burnley'], 'points': [9, 1]}),
        np.array([[1, 2], [1, 1]]),
        np.array([[6, 1], [3, 4]]),
        {},
    )
    assert count_seasons_without_one_champion({'E0': season}) == 1
    assert count_lost_points(projected_tables({'E0': season})) == 1


def test_monitoring_needs_prometheus_and_data():
    query = PanelQuery('API', 'Requests', 'short', 'requests', 'up')
    empty = PanelResult(query, {})
    full = PanelResult(query, {'requests': pl.DataFrame()})
    low = Measurement(OBJECTIVES[0], 0.9)
    assert panels_without_data([empty]) == ['API: Requests']
    assert panels_without_data([empty, full]) == []
    without = {check.name: check.passed for check in monitoring_checks('', [], [])}
    assert without == {NO_PROMETHEUS: False, 'panels with data': True}
    measured = {check.name: check.passed for check in monitoring_checks('http://p', [low], [full])}
    assert measured == {NO_PROMETHEUS: True, 'panels with data': True, 'availability': False}


def test_a_fixture_page_that_does_not_exist_is_no_failure():
    fetched = pl.DataFrame(
        {
            'status': ['new', 'done before', 'failed', 'failed'],
            'league': ['E0', 'E0', 'E0', None],
            'error': [None, None, 'HTTP 404', 'HTTP 404'],
        }
    )
    counts = count_fetches(fetched)
    assert (counts.new, counts.unchanged, counts.failed) == (1, 1, 1)
    assert counts.missing_fixture_pages == 1


def test_partitions_are_checked_where_there_are_any():
    assert partition_checks(None, 2) == []
    assert [check.passed for check in partition_checks(1, 2)] == [False]
