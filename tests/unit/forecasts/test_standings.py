"League tables and tie-breaks: real seasons, constructed cases and a slow second implementation."

import random
from itertools import groupby, permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.forecasts.standings import (
    DEFAULT_TIE_BREAKS,
    EARLIER_TIE_BREAKS,
    TIE_BREAKS,
    MatchArrays,
    find_tie_breaks,
    league_table,
    rank_teams,
    remaining_fixtures,
    standings_totals,
)
from tests.support.final_tables import FINAL_TABLES, premier_league_season

DEDUCTIONS = {'2324': {'Everton': 8, "Nott'm Forest": 4}}
NAMES = ('home_team', 'away_team', 'home_goals', 'away_goals')


def played(*results):
    return pl.DataFrame(results, schema=list(NAMES), orient='row')


def order(matches, league=None, **options):
    return league_table(matches, league, **options)['team'].to_list()


@pytest.mark.parametrize('season', FINAL_TABLES)
def test_real_premier_league_tables(season):
    table = league_table(premier_league_season(season), deductions=DEDUCTIONS.get(season))
    assert (
        '; '.join(f'{team} {points}' for team, points in table.select('team', 'points').iter_rows())
        == FINAL_TABLES[season]
    )
    assert table['position'].to_list() == list(range(1, 21))
    assert table['played'].unique().to_list() == [38]
    assert table['goal_difference'].sum() == 0
    assert (3 * table['won'] + table['drawn'] - table['points']).sum() == sum(
        DEDUCTIONS.get(season, {}).values()
    )


@pytest.mark.parametrize(
    ('league', 'season', 'top'),
    [
        (
            'SP1',
            '2006/07',
            ['Real Madrid', 'Barcelona', 'Sevilla', 'Valencia'],
        ),  # a title by head to head
        ('SP1', '2005/06', ['Barcelona', 'Real Madrid', 'Valencia', 'Osasuna', 'Sevilla']),
        ('I1', '2017/18', ['Juventus', 'Napoli', 'Roma', 'Inter', 'Lazio']),
        ('I1', '2008/09', ['Inter', 'Juventus', 'Milan', 'Fiorentina', 'Genoa']),
    ],
)
def test_real_tables_decided_between_teams(shared_data, league, season, top):
    matches = pl.read_parquet(shared_data / 'two_tiers_1993_2025.parquet').filter(
        league=league, season=season
    )
    matches = matches.rename(
        {'home': 'home_team', 'away': 'away_team', 'fthg': 'home_goals', 'ftag': 'away_goals'}
    ).select('league', *NAMES)
    assert order(matches)[: len(top)] == top
    assert order(matches, 'no such league')[: len(top)] != top


def test_french_rules_of_a_season(shared_data):
    "Metz and Lorient: level on points, goal difference and matches against each other."
    matches = pl.read_parquet(shared_data / 'two_tiers_1993_2025.parquet').filter(
        league='F1', season='2023/24'
    )
    matches = matches.rename(
        {'home': 'home_team', 'away': 'away_team', 'fthg': 'home_goals', 'ftag': 'away_goals'}
    ).select('league', *NAMES)
    assert order(matches.with_columns(season=pl.lit('2324')))[15:17] == ['Metz', 'Lorient']
    assert order(matches.with_columns(season=pl.lit('2526')))[15:17] == ['Lorient', 'Metz']


@pytest.mark.parametrize(
    ('season', 'earlier'),
    [
        ('9394', True),
        ('9900', True),
        ('0001', True),
        ('2425', True),
        ('2526', False),
        ('2627', False),
    ],
)
def test_rules_change_with_the_season(season, earlier):
    frame = LEVEL.with_columns(season=pl.lit(season), league=pl.lit('F2'))
    assert find_tie_breaks(None, frame) == (
        'F2',
        EARLIER_TIE_BREAKS['F2'][1] if earlier else TIE_BREAKS['F2'],
    )
    assert find_tie_breaks('E0', frame) == ('E0', TIE_BREAKS['E0'])


def test_most_wins_away():
    "France: level on points, goal difference, matches against each other, goals and wins."
    even = played(
        ('a', 'b', 0, 0),
        ('b', 'a', 0, 0),
        ('a', 'c', 1, 0),
        ('c', 'a', 1, 0),
        ('b', 'c', 0, 1),
        ('c', 'b', 0, 1),
    )
    a, b = (
        league_table(even).row(by_predicate=pl.col('team') == team, named=True) for team in 'ab'
    )
    assert {name: a[name] for name in a if name not in ('team', 'position')} == {
        name: b[name] for name in b if name not in ('team', 'position')
    }
    assert order(even, 'F1').index('b') < order(even, 'F1').index('a')


# By hand: a and b finish level on points

LEVEL = played(
    ('a', 'b', 1, 0),
    ('b', 'a', 1, 0),
    ('a', 'c', 3, 0),
    ('c', 'a', 0, 0),
    ('b', 'c', 5, 0),
    ('c', 'b', 1, 1),
)


def test_goal_difference_then_goals():
    assert order(LEVEL) == ['b', 'a', 'c']
    even = played(
        ('a', 'b', 1, 1),
        ('b', 'a', 2, 2),
        ('a', 'c', 3, 1),
        ('c', 'a', 0, 0),
        ('b', 'c', 4, 2),
        ('c', 'b', 0, 0),
    )
    assert league_table(even)['goal_difference'][:2].to_list() == [2, 2]
    assert order(even) == ['b', 'a', 'c']


def test_head_to_head_before_goal_difference():
    direct = played(
        ('a', 'b', 1, 0),
        ('b', 'a', 0, 0),
        ('a', 'c', 0, 1),
        ('c', 'a', 0, 0),
        ('b', 'c', 5, 0),
        ('c', 'b', 1, 0),
    )
    points = dict(league_table(direct).select('team', 'points').iter_rows())
    assert points == {'a': 5, 'b': 4, 'c': 7}
    level = direct.vstack(
        played(
            ('b', 'd', 0, 0),
            ('d', 'b', 1, 0),
            ('a', 'd', 0, 1),
            ('d', 'a', 1, 0),
            ('c', 'd', 0, 0),
            ('d', 'c', 0, 0),
        )
    )
    points = dict(league_table(level).select('team', 'points').iter_rows())
    assert points['a'] == points['b'] == 5
    assert order(level, 'E0').index('b') < order(level, 'E0').index('a')
    for league in ('SP1', 'I1'):
        assert order(level, league).index('a') < order(level, league).index('b')


def test_head_to_head_waits_until_both_have_been_host():
    "a beat b, but the return match is to come: goal difference it is."
    early = played(('a', 'b', 1, 0), ('c', 'a', 2, 0), ('b', 'c', 4, 0))
    assert dict(league_table(early).select('team', 'points').iter_rows()) == {
        'a': 3,
        'b': 3,
        'c': 3,
    }
    assert order(early, 'SP1') == ['b', 'a', 'c']
    assert order(
        early.vstack(played(('b', 'a', 0, 0), ('c', 'b', 0, 0), ('a', 'c', 0, 0))), 'SP1'
    ) == ['b', 'a', 'c']


@pytest.mark.parametrize(('league', 'first'), [('E0', 'b'), ('D1', 'b'), ('F1', 'a'), ('SP1', 'a')])
def test_goals_or_head_to_head_first(league, first):
    "Level on points and goal difference: b scored more, a beat b."
    matches = played(
        ('a', 'b', 1, 0),
        ('b', 'a', 0, 0),
        ('a', 'c', 0, 1),
        ('c', 'a', 0, 0),
        ('b', 'c', 3, 2),
        ('c', 'b', 0, 0),
    )
    matches = matches.vstack(
        played(
            ('a', 'd', 0, 0),
            ('d', 'a', 0, 0),
            ('b', 'd', 2, 2),
            ('d', 'b', 0, 0),
            ('c', 'd', 0, 1),
            ('d', 'c', 0, 0),
        )
    )
    table = {row['team']: row for row in league_table(matches).iter_rows(named=True)}
    assert (
        (table['a']['points'], table['a']['goal_difference'])
        == (table['b']['points'], table['b']['goal_difference'])
        == (7, 0)
    )
    assert order(matches, league).index(first) == min(
        order(matches, league).index(team) for team in 'ab'
    )


def test_away_goals_between_two():
    "England: level on points, goal difference, goals and points against each other."
    matches = played(('a', 'b', 1, 0), ('b', 'a', 2, 1))
    assert order(matches, 'E0') == ['a', 'b']
    assert order(matches.with_columns(home_team='away_team', away_team='home_team'), 'E0') == [
        'b',
        'a',
    ]


def test_three_level_teams_make_a_table_of_their_own():
    ring = played(
        ('a', 'b', 1, 0),
        ('b', 'a', 1, 0),
        ('b', 'c', 2, 0),
        ('c', 'b', 0, 1),
        ('a', 'c', 0, 1),
        ('c', 'a', 0, 0),
        ('a', 'd', 1, 0),
        ('d', 'a', 0, 0),
        ('b', 'd', 0, 1),
        ('d', 'b', 3, 0),
        ('c', 'd', 3, 0),
        ('d', 'c', 0, 0),
    )
    points = dict(league_table(ring).select('team', 'points').iter_rows())
    assert points == {'a': 8, 'b': 9, 'c': 8, 'd': 8}
    assert order(ring, 'SP1') == slow_order(ring, TIE_BREAKS['SP1'])


# A second implementation, one group after the other


def slow_order(matches, rules):
    "Ranked with loops over groups of level teams; the order of names where no rule decides."
    rows = matches.rows()

    def sums(teams, rows):
        total = {
            team: dict.fromkeys(
                (
                    'points',
                    'goal_difference',
                    'goals',
                    'goals_for',
                    'away_goals',
                    'won',
                    'away_won',
                ),
                0,
            )
            for team in teams
        }
        for home, away, x, y in rows:
            for team, scored, conceded, is_away in ((home, x, y, 0), (away, y, x, 1)):
                totals = total[team]
                totals['points'] += 3 * (scored > conceded) + (scored == conceded)
                totals['won'] += scored > conceded
                totals['away_won'] += is_away * (scored > conceded)
                totals['goal_difference'] += scored - conceded
                totals['goals'] += scored
                totals['goals_for'] += scored
                totals['away_goals'] += scored * is_away
        return total

    teams = sorted({row[i] for row in rows for i in (0, 1)})
    overall = sums(teams, rows)
    groups = [
        list(g)
        for _, g in groupby(
            sorted(teams, key=lambda t: -overall[t]['points']), key=lambda t: overall[t]['points']
        )
    ]
    owner = None
    for rule in rules:
        if rule.startswith('direct_') and owner is None:
            owner = {team: group for group in groups for team in group}
        ahead = []
        for group in groups:
            if rule.startswith('direct_'):
                inside = owner[group[0]]
                value = {
                    t: v[rule.removeprefix('direct_')]
                    for t, v in sums(
                        inside, [r for r in rows if {r[0], r[1]} <= set(inside)]
                    ).items()
                }
            else:
                value = {team: overall[team][rule] for team in group}
            ordered = sorted(group, key=lambda team, value=value: (-value[team], team))
            ahead += [
                list(g) for _, g in groupby(ordered, key=lambda team, value=value: value[team])
            ]
        groups = ahead
    return [team for group in groups for team in sorted(group)]


@pytest.mark.parametrize('league', ['E0', 'E1', 'SP1', 'D1', 'F1', 'none'])
@given(seed=st.integers(0, 10**6), n_teams=st.integers(2, 6), most=st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_second_opinion(league, seed, n_teams, most):
    "Whole seasons with few goals, so that many teams are level."
    rng = random.Random(seed)
    matches = played(
        *(
            (h, a, rng.randint(0, most), rng.randint(0, most))
            for h, a in permutations('abcdef'[:n_teams], 2)
        )
    )
    assert order(matches, league) == slow_order(matches, TIE_BREAKS.get(league, DEFAULT_TIE_BREAKS))


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_many_tables_are_single_tables(seed):
    rng = np.random.default_rng(seed)
    home, away = np.array(list(permutations(range(5), 2))).T
    games = MatchArrays(home, away, *rng.integers(0, 3, (2, 30, 20)))
    lots = np.argsort(rng.random((30, 5)), axis=1)
    for rules in (TIE_BREAKS['SP1'], TIE_BREAKS['F1'], EARLIER_TIE_BREAKS['F1'][1]):
        places = rank_teams(standings_totals(games, 5), [games], rules, lots)
        assert (np.sort(places, axis=1) == np.arange(5)).all()
        for i in range(30):
            single = MatchArrays(
                home, away, games.home_goals[i : i + 1], games.away_goals[i : i + 1]
            )
            assert np.array_equal(
                rank_teams(standings_totals(single, 5), [single], rules, lots[i : i + 1]),
                places[i : i + 1],
            )
        halves = [
            MatchArrays(
                home[part], away[part], games.home_goals[:, part], games.away_goals[:, part]
            )
            for part in (slice(0, 8), slice(8, 20))
        ]
        assert np.array_equal(rank_teams(standings_totals(games, 5), halves, rules, lots), places)


def test_order_of_matches_does_not_matter():
    season = sample_matches(sample_strengths(8, seed=2), seed=2)
    for league in TIE_BREAKS:
        assert league_table(season, league).equals(
            league_table(season.sample(fraction=1, shuffle=True, seed=1), league)
        )


# What counts


def test_only_what_is_over_counts():
    matches = LEVEL.with_columns(
        status=pl.Series(['finished'] * 4 + ['awarded', 'scheduled']), league=pl.lit('E0')
    )
    assert league_table(matches)['played'].sum() == 10
    postponed = matches.with_columns(
        home_goals=pl.when(status='scheduled').then(None).otherwise('home_goals')
    )
    assert league_table(postponed).equals(league_table(matches))
    assert league_table(LEVEL.with_columns(home_goals=None, away_goals=None))[
        'points'
    ].to_list() == [0, 0, 0]


def test_no_match_yet():
    table = league_table(LEVEL.with_columns(status=pl.lit('scheduled')))
    assert table['team'].to_list() == ['a', 'b', 'c']
    assert table['played'].sum() == 0
    assert league_table(LEVEL.head(0)).height == 0


def test_four_meetings():
    "As in Scotland: pairs meet more than once on the same ground."
    thrice = pl.concat([LEVEL, LEVEL, LEVEL])
    assert (
        league_table(thrice, 'SP1')['team'].to_list()
        == league_table(LEVEL, 'SP1')['team'].to_list()
    )
    assert league_table(thrice)['points'].sum() == 3 * league_table(LEVEL)['points'].sum()


def test_remaining_fixtures():
    season = sample_matches(sample_strengths(6, seed=1), seed=1).sort('kickoff')
    left = remaining_fixtures(season.head(11))
    pairs = set(left.iter_rows()) | set(
        season.head(11).select('home_team', 'away_team').iter_rows()
    )
    assert (left.height, len(pairs)) == (19, 30)
    assert remaining_fixtures(season.head(0), ['x', 'y']).rows() == [('x', 'y'), ('y', 'x')]
    assert remaining_fixtures(season.head(0)).height == 0


def test_every_league_has_rules():
    from importlib.resources import files

    known = pl.read_csv((files('football_pred') / 'data/leagues.csv').read_bytes())['league']
    assert set(TIE_BREAKS) <= set(known)
    for league, rules in TIE_BREAKS.items():
        assert len(set(rules)) == len(rules), league
        assert league_table(LEVEL, league).height == 3


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: league_table(LEVEL.drop('away_team')), 'Column away_team is missing from matches'),
        (
            lambda: league_table(LEVEL.drop('away_goals')),
            'Column away_goals is missing from matches',
        ),
        (
            lambda: league_table(LEVEL.with_columns(away_team='home_team')),
            "both 'a' in row 0 of matches, a team cannot play itself",
        ),
        (
            lambda: league_table(LEVEL.with_columns(home_team=pl.lit(None, pl.String))),
            'home_team of matches is empty in row 0',
        ),
        (lambda: league_table(LEVEL.with_columns(home_goals=-1)), 'home_goals is -1.0 in row 0'),
        (lambda: league_table(LEVEL.with_columns(home_goals=1.5)), 'home_goals is 1.5 in row 0'),
        (
            lambda: league_table(LEVEL.with_columns(away_goals=pl.lit(None, pl.Int64))),
            'away_goals is None in row 0',
        ),
        (
            lambda: league_table(LEVEL.with_columns(status=pl.lit(None, pl.String))),
            'status is empty in row 0',
        ),
        (
            lambda: league_table(LEVEL.with_columns(season=pl.Series(list('112211')))),
            "of one season, matches have \\['1', '2'\\]",
        ),
        (
            lambda: league_table(LEVEL.with_columns(league=pl.Series(list('112211')))),
            'of one league',
        ),
        (
            lambda: league_table(LEVEL, deductions={'A': 3}),
            "deductions name 'A', which is not a team here; did you mean a",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
