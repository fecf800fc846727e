"Season simulation: every possible season of a small league, a finished season, probabilities."

from itertools import permutations, product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.forecasts.season_simulation import (
    DEFAULT_ZONES,
    LEAGUE_ZONES,
    StrengthUncertainty,
    draw_scores,
    draw_tilted_scores,
    estimate_strength_uncertainty,
    projected_table,
    simulate_season,
)
from football_pred.forecasts.standings import league_table, remaining_fixtures
from football_pred.markets.score_grid import score_grid
from football_pred.models.dixon_coles import DixonColes
from tests.support.final_tables import FINAL_TABLES, premier_league_season

SEASON = sample_matches(sample_strengths(8, seed=3), seed=3).sort('kickoff')
HALF = SEASON.head(28)
FIXTURES = remaining_fixtures(HALF)
MODEL = DixonColes(half_life=None).fit(HALF)
GRIDS = MODEL.predict_grid(FIXTURES)
UNCERTAINTY = estimate_strength_uncertainty(MODEL.strengths())
NONE = np.empty((0, 11, 11))


# Every possible season

SMALL = pl.DataFrame(
    [('a', 'b', 1, 0), ('b', 'c', 1, 1), ('c', 'a', 2, 2)],
    schema=['home_team', 'away_team', 'home_goals', 'away_goals'],
    orient='row',
)


def every_season(matches, fixtures, grids, league):
    "Probability of every place of every team, season by season; what no rule separates is shared."
    teams = sorted(set(matches['home_team']) | set(matches['away_team']))
    probabilities = np.zeros((len(teams), len(teams)))
    scores = list(product(range(grids.shape[1]), repeat=2))
    for season in product(scores, repeat=len(fixtures)):
        probability = np.prod([grids[m][score] for m, score in enumerate(season)])
        goals = fixtures.with_columns(
            pl.Series('home_goals', [s[0] for s in season]),
            pl.Series('away_goals', [s[1] for s in season]),
        )
        season_matches = pl.concat([matches, goals])
        # Names decide where no rule does, so every order of names is tried.
        orders = list(permutations(range(len(teams))))
        for order in orders:
            name = dict(zip(teams, [teams[i] for i in order], strict=True))
            renamed = season_matches.with_columns(
                pl.col('home_team', 'away_team').replace_strict(name)
            )
            back = {new: old for old, new in name.items()}
            for place, team in enumerate(league_table(renamed, league)['team']):
                probabilities[teams.index(back[team]), place] += probability / len(orders)
    return probabilities


@pytest.mark.parametrize('league', ['E0', 'SP1'])
def test_every_season_of_three_teams(league):
    fixtures = remaining_fixtures(SMALL).head(2)  # 81 seasons
    grids = score_grid(np.array([0.9, 0.6]), np.array([0.7, 1.0]), max_goals=2)
    expected = every_season(SMALL, fixtures, grids, league)
    assert np.allclose(expected.sum(axis=0), 1)
    n = 200_000
    certain = simulate_season(SMALL, fixtures, grids, league, n).position_probabilities()
    nothing_unsure = StrengthUncertainty(['a', 'b', 'c'], np.zeros((6, 6)))
    tilted = simulate_season(
        SMALL, fixtures, grids, league, n, nothing_unsure
    ).position_probabilities()
    for estimated in (certain, tilted):
        assert np.abs(estimated - expected).max() < 4.5 * np.sqrt(0.25 / n)


def test_expected_points_are_those_of_the_grids():
    season = simulate_season(HALF, FIXTURES, GRIDS, simulations=40_000)
    home_win, away_win = (np.tril(GRIDS, -1).sum(axis=(1, 2)), np.triu(GRIDS, 1).sum(axis=(1, 2)))
    draw = 1 - home_win - away_win
    expected = dict(league_table(HALF).select('team', 'points').iter_rows())
    for home, away, h, d, a in zip(
        FIXTURES['home_team'], FIXTURES['away_team'], home_win, draw, away_win, strict=True
    ):
        expected[home] += 3 * h + d
        expected[away] += 3 * a + d
    points = dict(projected_table(season).select('team', 'expected_points').iter_rows())
    assert max(abs(points[team] - expected[team]) for team in expected) < 0.1


# A season that is over


@pytest.mark.parametrize('season', FINAL_TABLES)
def test_finished_seasons_are_certain(season):
    matches = premier_league_season(season)
    over = simulate_season(matches, remaining_fixtures(matches), NONE, simulations=20)
    table = league_table(matches)
    assert over.table.equals(table)
    assert [over.teams[i] for i in over.position_probabilities().argmax(axis=0)] == table[
        'team'
    ].to_list()
    assert set(over.position_probabilities().ravel()) == {0, 1}
    finish = projected_table(over)
    assert finish['team'].to_list() == table['team'].to_list()
    assert (finish['expected_points'] == finish['points']).all()
    assert (finish['points_low'] == finish['points_high']).all()
    assert finish['title'].to_list() == [1.0] + [0.0] * 19
    assert finish['relegation'].to_list() == [0.0] * 17 + [1.0] * 3


def test_season_that_has_not_begun():
    empty = SEASON.with_columns(home_goals=None, away_goals=None, status=pl.lit('scheduled'))
    fixtures = SEASON.select('home_team', 'away_team')
    season = simulate_season(
        empty, fixtures, np.tile(score_grid(1.4, 1.1), (len(fixtures), 1, 1)), simulations=4000
    )
    assert season.table['played'].sum() == 0
    assert np.abs(season.position_probabilities() - 1 / 8).max() < 0.04  # all teams alike
    assert (
        simulate_season(empty.head(0), fixtures, GRIDS[[0] * 56], simulations=2).teams
        == season.teams
    )


def test_sure_champion():
    "Further ahead than there are points to be had."
    rows = (
        [('a', team, 9, 0) for team in 'bcd']
        + [(team, 'a', 0, 9) for team in 'bcd']
        + [('b', 'c', 0, 0), ('c', 'd', 0, 0)]
    )
    matches = pl.DataFrame(rows, schema=SMALL.columns, orient='row')
    left = remaining_fixtures(matches)
    season = simulate_season(
        matches, left, np.tile(score_grid(1.4, 1.1), (len(left), 1, 1)), simulations=500
    )
    assert season.position_probabilities()[0, 0] == 1


# Laws


@pytest.mark.parametrize('league', ['E0', 'SP1', 'D1', 'F1', None])
@pytest.mark.parametrize('uncertainty', [None, UNCERTAINTY])
def test_places_are_permutations(league, uncertainty):
    season = simulate_season(HALF, FIXTURES, GRIDS, league, 700, uncertainty)
    assert (np.sort(season.positions, axis=1) == np.arange(1, 9)).all()
    probabilities = season.position_probabilities()
    assert np.allclose(probabilities.sum(axis=0), 1)
    assert np.allclose(probabilities.sum(axis=1), 1)
    ordered = np.take_along_axis(season.points, np.argsort(season.positions, axis=1), axis=1)
    assert (np.diff(ordered, axis=1) <= 0).all()  # nobody stands above a team with more points


@pytest.mark.parametrize('uncertainty', [None, UNCERTAINTY])
def test_reproducible(uncertainty):
    def run(simulations=1200, seed=7):
        return simulate_season(
            HALF, FIXTURES, GRIDS, simulations=simulations, uncertainty=uncertainty, seed=seed
        )

    first, again, other, longer = run(), run(), run(seed=8), run(3100)
    assert np.array_equal(first.positions, again.positions)
    assert np.array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)
    assert np.array_equal(first.positions, longer.positions[:1200])


def test_order_of_fixtures_and_matches_does_not_matter_much():
    reverse = slice(None, None, -1)
    forward = simulate_season(HALF, FIXTURES, GRIDS, simulations=20_000).position_probabilities()
    back = simulate_season(
        HALF[reverse], FIXTURES[reverse], GRIDS[reverse], simulations=20_000
    ).position_probabilities()
    assert np.abs(forward - back).max() < 0.025


def test_deductions():
    season = simulate_season(HALF, FIXTURES, GRIDS, simulations=300, deductions={'team_03': 50})
    assert season.position_probabilities()[3, -1] == 1
    assert season.table['team'][-1] == 'team_03'
    assert np.array_equal(
        season.points[:, 3] + 50,
        simulate_season(HALF, FIXTURES, GRIDS, simulations=300).points[:, 3],
    )


def test_uncertainty_makes_seasons_less_certain():
    def spread(uncertainty):
        season = simulate_season(HALF, FIXTURES, GRIDS, simulations=5000, uncertainty=uncertainty)
        return season.points.std(axis=0), season.points.mean(axis=0)

    certain, unsure, wild = (
        spread(uncertainty)
        for uncertainty in (
            None,
            UNCERTAINTY,
            UNCERTAINTY._replace(covariance=UNCERTAINTY.covariance * 8),
        )
    )
    assert (unsure[0] > certain[0]).all()
    assert (wild[0] > 1.2 * certain[0]).all()
    assert np.abs(unsure[1] - certain[1]).max() < 1


def test_a_team_is_as_strong_in_all_matches_of_a_simulation():
    "Goals of one team in two matches rise and fall together."
    rng = np.random.default_rng(1)
    strong = rng.normal(scale=0.5, size=20_000)
    tilts = np.stack([np.stack([strong, strong], axis=1), np.zeros((20_000, 2))])
    home_goals, _ = draw_tilted_scores(
        score_grid(np.array([1.5, 1.2]), np.array([1.0, 1.0])), tilts, rng
    )
    assert np.corrcoef(home_goals.T)[0, 1] > 0.15


def test_uncertainty_of_other_teams_is_left_out():
    variance = np.diag(UNCERTAINTY.covariance)
    more = StrengthUncertainty(
        [*reversed(UNCERTAINTY.teams), 'another'],
        np.diag(np.r_[variance[7::-1], 9, variance[:7:-1], 9]),
    )
    same = simulate_season(HALF, FIXTURES, GRIDS, simulations=50, uncertainty=more)
    assert np.array_equal(
        same.points,
        simulate_season(HALF, FIXTURES, GRIDS, simulations=50, uncertainty=UNCERTAINTY).points,
    )


def test_standard_errors_are_near_those_of_the_likelihood():
    "The information of a Poisson likelihood with a ridge, match by match, inverted."
    ridge = 6.0
    model = DixonColes(half_life=None, ridge=ridge).fit(SEASON)
    rates = model.predict_rates(SEASON)
    number = {team: i for i, team in enumerate(model.teams_)}
    information = np.diag(np.r_[np.full(16, ridge), ridge, ridge])
    for home, away, (home_rate, away_rate) in zip(
        SEASON['home_team'], SEASON['away_team'], rates, strict=True
    ):
        for attacking, defending, rate, at_home in (
            (home, away, home_rate, 1),
            (away, home, away_rate, 0),
        ):
            x = np.zeros(18)
            x[number[attacking]], x[8 + number[defending]], x[16], x[17] = 1, -1, 1, at_home
            information += rate * np.outer(x, x)
    exact = np.sqrt(np.diag(np.linalg.inv(information))[:16])
    rough = np.sqrt(np.diag(estimate_strength_uncertainty(model.strengths(), ridge).covariance))
    assert np.abs(np.log(rough / exact)).max() < 0.25


# Drawing


@given(st.floats(0.2, 4), st.floats(0.2, 4), st.floats(-0.15, 0.1), st.integers(1, 10))
@settings(max_examples=25, deadline=None)
def test_scores_follow_their_grid(home_rate, away_rate, rho, max_goals):
    grid = score_grid(home_rate, away_rate, rho, max_goals)[None]
    for home_goals, away_goals in (
        draw_scores(grid, 20_000, np.random.default_rng(0)),
        draw_tilted_scores(grid, np.zeros((2, 20_000, 1)), np.random.default_rng(0)),
    ):
        counted = np.zeros_like(grid[0])
        np.add.at(counted, (home_goals[:, 0], away_goals[:, 0]), 1 / 20_000)
        assert np.abs(counted - grid[0]).max() < 5 * np.sqrt(0.25 / 20_000)
        assert not counted[grid[0] == 0].any()


@pytest.mark.parametrize('tilt', [(0.3, -0.2), (-0.5, 0.0), (0.0, 0.4)])
def test_tilted_poisson_grids_are_poisson_grids(tilt):
    base, tilted = (
        score_grid(np.array([1.4]), np.array([1.1]), max_goals=14),
        score_grid(1.4 * np.exp(tilt[0]), 1.1 * np.exp(tilt[1]), max_goals=14),
    )
    home_goals, away_goals = draw_tilted_scores(
        base, np.full((2, 100_000, 1), np.reshape(tilt, (2, 1, 1))), np.random.default_rng(3)
    )
    counted = np.zeros_like(tilted)
    np.add.at(counted, (home_goals[:, 0], away_goals[:, 0]), 1e-5)
    assert np.abs(counted - tilted).max() < 0.006


def test_cells_of_no_chance_are_never_drawn():
    grid = np.zeros((1, 3, 3))
    grid[0, 2, 1] = 1
    home_goals, away_goals = draw_scores(grid, 1000, np.random.default_rng(0))
    assert (home_goals == 2).all()
    assert (away_goals == 1).all()
    home_goals, away_goals = draw_tilted_scores(
        grid, np.random.default_rng(0).normal(size=(2, 1000, 1)), np.random.default_rng(0)
    )
    assert (home_goals == 2).all()
    assert (away_goals == 1).all()


# What it comes to


def test_finish_table():
    season = simulate_season(HALF, FIXTURES, GRIDS, 'D1', simulations=2000)
    finish = projected_table(season, coverage=0.5)
    assert finish.columns[6:] == list(LEAGUE_ZONES['D1'])
    assert finish['title'].sum() == pytest.approx(1)
    assert finish['top_four'].sum() == pytest.approx(4)
    assert finish['relegation'].sum() == pytest.approx(2)
    assert (finish['title'] <= finish['top_four']).all()
    assert finish['expected_position'].is_sorted()
    wide = projected_table(season, coverage=0.95).sort('team')
    assert (
        wide['points_high'] - wide['points_low']
        >= (finish['points_high'] - finish['points_low'])[finish['team'].arg_sort()]
    ).all()
    assert (finish['points'] <= finish['points_low']).all()
    assert projected_table(season, {}).columns[-1] == 'expected_position'
    assert projected_table(simulate_season(HALF, FIXTURES, GRIDS, simulations=5)).columns[
        6:
    ] == list(DEFAULT_ZONES)


# Bad input

AWAY = FIXTURES.with_columns(away_team='home_team')


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: simulate_season(HALF, FIXTURES, GRIDS, simulations=0), 'simulations is 0'),
        (
            lambda: simulate_season(HALF, FIXTURES, GRIDS[1:]),
            r'grids have the shape \(27, 11, 11\), expected \(28, G\+1, G\+1\) for 28 fixtures',
        ),
        (lambda: simulate_season(HALF, FIXTURES, GRIDS[0]), r'grids have the shape \(11, 11\)'),
        (lambda: simulate_season(HALF, FIXTURES, GRIDS * 0.99), 'grid of fixture 0 sums to 0.99'),
        (
            lambda: simulate_season(HALF, FIXTURES, np.where(GRIDS > 0, np.nan, 0)),
            'grid of fixture 0 has cells that are not 0 or more',
        ),
        (
            lambda: simulate_season(HALF, FIXTURES.drop('away_team'), GRIDS),
            'Column away_team is missing from fixtures',
        ),
        (lambda: simulate_season(HALF, AWAY, GRIDS), 'a team cannot play itself'),
        (
            lambda: simulate_season(SEASON, FIXTURES, GRIDS),
            'occurs 2 times in matches and fixtures, more than home_meetings=1',
        ),
        (
            lambda: simulate_season(HALF, FIXTURES, GRIDS, deductions={'team_0': 3}),
            "deductions name 'team_0', which is not a team here; did you mean",
        ),
        (
            lambda: simulate_season(HALF.with_columns(home_goals=-1), FIXTURES, GRIDS),
            'home_goals is -1.0 in row 0',
        ),
        (
            lambda: simulate_season(
                HALF, FIXTURES, GRIDS, uncertainty=StrengthUncertainty(['x'], np.eye(2))
            ),
            "uncertainty has no team 'team_00'",
        ),
        (
            lambda: simulate_season(
                HALF, FIXTURES, GRIDS, uncertainty=UNCERTAINTY._replace(covariance=np.eye(8))
            ),
            r'shape \(8, 8\), expected .* \(16, 16\)',
        ),
        (
            lambda: simulate_season(
                HALF, FIXTURES, GRIDS, uncertainty=UNCERTAINTY._replace(covariance=-np.eye(16))
            ),
            'covariance has the eigenvalue -1',
        ),
        (
            lambda: simulate_season(
                HALF,
                FIXTURES,
                GRIDS,
                uncertainty=UNCERTAINTY._replace(covariance=np.full((16, 16), np.nan)),
            ),
            'expected finite numbers',
        ),
        (
            lambda: estimate_strength_uncertainty(MODEL.strengths().drop('weight')),
            'Column weight is missing from strengths',
        ),
        (
            lambda: estimate_strength_uncertainty(MODEL.strengths(), ridge=-1000),
            'its strength is undetermined',
        ),
        (
            lambda: projected_table(
                simulate_season(HALF, FIXTURES, GRIDS, simulations=2), {'top': (1, 9)}
            ),
            r"zone 'top' has the places \(1, 9\), of 8 teams",
        ),
        (
            lambda: projected_table(
                simulate_season(HALF, FIXTURES, GRIDS, simulations=2), {'top': (0, 1)}
            ),
            "zone 'top'",
        ),
        (
            lambda: projected_table(
                simulate_season(HALF, FIXTURES, GRIDS, simulations=2), coverage=90
            ),
            'coverage is 90',
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
