"What the picture of a simulated season says."

import matplotlib.pyplot as plt
import numpy as np
import pytest

from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.forecasts.season_simulation import simulate_season
from football_pred.forecasts.standings import league_table, remaining_fixtures
from football_pred.models.dixon_coles import DixonColes
from football_pred.reporting.plots import plot_final_positions

SEASON = sample_matches(sample_strengths(12, seed=5), seed=5).sort('kickoff')


def picture(matches, simulations=300, league=None):
    left = remaining_fixtures(matches, SEASON['home_team'].unique().to_list())
    grids = DixonColes(half_life=None).fit(matches).predict_grid(left)
    season = simulate_season(matches, left, grids, league, simulations)
    return season, plot_final_positions(season)


def labels(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_every_team_with_its_points():
    season, figure = picture(SEASON.head(80))
    expected = season.position_probabilities() @ np.arange(1, 13)
    points = dict(league_table(SEASON.head(80)).select('team', 'points').iter_rows())
    order = [season.teams[i] for i in np.argsort(expected, kind='stable')]
    assert [label.split() for label in labels(figure)] == [
        [team, str(points[team])] for team in order
    ]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        str(place) for place in range(1, 13)
    ]
    assert not plt.get_fignums()


def test_finished_season_is_a_diagonal_of_hundreds():
    _, figure = picture(SEASON, 5)
    said = [
        (text.get_position(), text.get_text()) for text in figure.axes[0].texts if text.get_text()
    ]
    assert [word for _, word in said] == ['100'] * 12
    assert sorted(round(x - 0.5) for (x, _), _ in said) == list(range(12))
    assert [label.split()[0] for label in labels(figure)] == league_table(SEASON)['team'].to_list()


@pytest.mark.parametrize(
    ('league', 'edges'), [(None, [1, 4, 9]), ('D1', [1, 4, 9, 10]), ('E1', [1, 2, 6, 9])]
)
def test_lines_between_zones(league, edges):
    _, figure = picture(SEASON.head(100), 5, league)
    assert [line.get_xdata()[0] for line in figure.axes[0].lines] == edges


def test_the_same_season_is_the_same_picture():
    def drawn():
        _, figure = picture(SEASON.head(90))
        return [text.get_text() for text in figure.axes[0].texts]

    assert drawn() == drawn()
