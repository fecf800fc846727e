"What the jobs backtest, predict, settle, simulate, monitor, collect and tidy decide."

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

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
from football_pred.jobs.forecasting import refuse_hindsight, serving_models
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
    challenger_scores,
    champion_checks,
    champion_scores,
    model_roles,
)
from football_pred.jobs.simulating import (
    count_lost_points,
    count_seasons_without_one_champion,
    projected_tables,
)
from football_pred.models.serialization import ModelError
from football_pred.registry.registry import ModelVersion
from football_pred.reporting.dashboard_plots import PanelQuery

AS_OF = datetime(2026, 4, 1, tzinfo=UTC)


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


@pytest.mark.parametrize(('odds', 'left_out'), [(2.0, []), (None, ['market'])])
def test_a_model_that_learns_from_odds_needs_odds(tmp_path, monkeypatch, odds, left_out):
    market = SimpleNamespace(learn_from='closing')
    goals = SimpleNamespace(learn_from='goals')
    estimators = {'market': market, 'goals': goals}
    monkeypatch.setattr(
        'football_pred.jobs.backtesting.new_model', lambda name, *_: estimators[name]
    )
    targets = pl.DataFrame({'closing_home': [odds]}, schema={'closing_home': pl.Float64})
    models = select_models({'market': {}, 'goals': {}}, targets, tmp_path)
    assert models.without_odds == left_out
    assert 'goals' in models.estimators


def test_omissions_are_reported():
    nothing = report_omissions(BacktestTargets(pl.DataFrame(), 0), BacktestModels({}, []))
    both = report_omissions(BacktestTargets(pl.DataFrame(), 3), BacktestModels({}, ['market']))
    assert nothing == []
    assert both == [
        'Skipped 3 matches played before any result was known.',
        'No odds available: skipped market.',
    ]


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
    assert champion_checks(pl.DataFrame()) == []
    assert [check.passed for check in champion_checks(champion_scores(alone))] == [True] * 4
    assert set(challenger_scores(both)['matches']) == {2}


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
