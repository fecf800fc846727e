"The bundled Premier League results are complete, possible, and the same as in other real collections."

import hashlib
import io
import json
from collections import Counter
from datetime import date
from importlib.resources import files

import polars as pl
import pytest

from football_pred.core.database import write_transaction
from football_pred.ingest.competitions import read_packaged_csv
from football_pred.ingest.open_sources import BundledSource
from football_pred.ingest.team_names import load_reference_data, read_source_aliases

DATA = files('football_pred') / 'data'
CONTENT = (DATA / 'premier_league.csv').read_bytes()
ABOUT = json.loads((DATA / 'premier_league.json').read_text())
MATCHES = pl.read_csv(io.BytesIO(CONTENT), infer_schema=False).with_columns(
    pl.col('date').str.to_date('%Y-%m-%d', strict=True),
    pl.col('time').str.to_time('%H:%M', strict=True),
    pl.col('home_goals', 'away_goals').cast(pl.Int64),
)
SEASONS = [f'{year}{year + 1}' for year in range(14, 26)]
PAIR = ['season', 'home_team', 'away_team']

# Clubs that openfootball does not just write as here with ' FC' behind the name.
OPENFOOTBALL = {
    'AFC Bournemouth': 'Bournemouth',
    'Brighton & Hove Albion FC': 'Brighton',
    'Leeds United FC': 'Leeds',
    'Manchester City FC': 'Man City',
    'Manchester United FC': 'Man United',
    'Newcastle United FC': 'Newcastle',
    'Nottingham Forest FC': "Nott'm Forest",
    'Sunderland AFC': 'Sunderland',
    'Tottenham Hotspur FC': 'Tottenham',
    'West Ham United FC': 'West Ham',
    'Wolverhampton Wanderers FC': 'Wolves',
}

# Minutes by which kick-offs are later here than at football-data.co.uk: each was delayed, and only one of the two says so.
DELAYED = {
    ('2021', 'Chelsea', 'Brighton'): 15,
    ('2223', 'Fulham', 'Tottenham'): 15,
    ('2223', 'Tottenham', 'Bournemouth'): 15,
    ('2324', 'Arsenal', "Nott'm Forest"): 30,
    ('2425', 'Ipswich', 'Everton'): 15,
}


def clubs(matches: pl.DataFrame) -> set[str]:
    return {*matches['home_team'], *matches['away_team']}


def british(day: pl.Expr, time: pl.Expr) -> pl.Expr:
    return day.dt.combine(time).dt.replace_time_zone('UTC').dt.convert_time_zone('Europe/London')


def other_score(matches: pl.DataFrame) -> list[tuple]:
    "Matches whose score is not `their_home_goals` and `their_away_goals`."
    differs = (pl.col('home_goals') != pl.col('their_home_goals')) | (
        pl.col('away_goals') != pl.col('their_away_goals')
    )
    return matches.filter(differs).select(PAIR).rows()


@pytest.fixture(scope='module')
def football_data(shared_data):
    "Our matches of 2020/21 to 2024/25 beside those of football-data.co.uk, whose times are those of British clocks."
    frames = []
    for season in SEASONS[6:11]:
        content = (
            (shared_data / f'football_data_uk/E0_{season}.csv')
            .read_bytes()
            .removeprefix('\ufeff'.encode())
        )
        frames.append(
            pl.read_csv(io.BytesIO(content), infer_schema=False).select(
                season=pl.lit(season),
                home_team='HomeTeam',
                away_team='AwayTeam',
                theirs=pl.concat_str('Date', 'Time', separator=' ').str.to_datetime(
                    '%d/%m/%Y %H:%M', strict=True
                ),
                their_home_goals=pl.col('FTHG').cast(pl.Int64),
                their_away_goals=pl.col('FTAG').cast(pl.Int64),
            )
        )
    return MATCHES.join(pl.concat(frames), on=PAIR).with_columns(
        ours=british(pl.col('date'), pl.col('time')).dt.replace_time_zone(None)
    )


@pytest.fixture(scope='module')
def two_tiers(shared_data):
    "Our matches of 2014/15 to 2024/25 beside those of another collection, which has dates without times."
    theirs = (
        pl.read_parquet(shared_data / 'two_tiers_1993_2025.parquet')
        .filter(country='E0', tier=1)
        .select(
            season=pl.col('season').str.slice(2, 2) + pl.col('season').str.slice(5, 2),
            home_team='home',
            away_team='away',
            their_date=pl.col('date').dt.date(),
            their_home_goals=pl.col('fthg').cast(pl.Int64),
            their_away_goals=pl.col('ftag').cast(pl.Int64),
        )
    )
    return MATCHES.join(theirs, on=PAIR)


@pytest.fixture(scope='module')
def openfootball(shared_data):
    "Our matches of 2025/26 beside those of openfootball, which stop in March and have British times."
    written = json.loads((shared_data / 'openfootball/2025-26/en.1.json').read_text())['matches']
    rows = [
        (match['team1'], match['team2'], f"{match['date']} {match['time']}", *match['score']['ft'])
        for match in written
        if match.get('score')
    ]
    theirs = pl.DataFrame(
        rows,
        schema=['home_team', 'away_team', 'theirs', 'their_home_goals', 'their_away_goals'],
        orient='row',
    ).with_columns(
        pl.col('home_team', 'away_team').replace(OPENFOOTBALL).str.strip_suffix(' FC'),
        season=pl.lit('2526'),
    )
    return MATCHES.join(theirs, on=PAIR, how='right').with_columns(
        pl.col('theirs').str.to_datetime('%Y-%m-%d %H:%M'),
        ours=british(pl.col('date'), pl.col('time')).dt.replace_time_zone(None),
    )


# ---- complete and possible


def test_the_file_is_the_one_that_was_packed():
    assert (hashlib.sha256(CONTENT).hexdigest(), MATCHES.height, ABOUT['seasons']) == (
        ABOUT['sha256'],
        ABOUT['matches'],
        SEASONS,
    )


@pytest.mark.parametrize('season', SEASONS)
def test_every_pair_of_twenty_meets_once_at_each_ground(season):
    played = MATCHES.filter(season=season)
    teams = clubs(played)
    assert len(teams) == 20
    assert Counter(played.select('home_team', 'away_team').iter_rows()) == {
        (home, away): 1 for home in teams for away in teams if home != away
    }


def test_each_season_is_played_between_august_and_july():
    outside = [
        (season, day)
        for season, day in MATCHES.select('season', 'date').iter_rows()
        if not date(2000 + int(season[:2]), 8, 1) <= day < date(2000 + int(season[2:]), 8, 1)
    ]
    assert outside == []


def test_nobody_plays_twice_on_a_day():
    sides = pl.concat(
        [MATCHES.select('date', team='home_team'), MATCHES.select('date', team='away_team')]
    )
    assert sides.filter(sides.is_duplicated()).rows() == []


def test_scores_are_possible():
    assert (
        MATCHES.filter(
            (pl.col('home_goals') < 0)
            | (pl.col('away_goals') < 0)
            | (pl.sum_horizontal('home_goals', 'away_goals') > 11)
        ).rows()
        == []
    )


def test_kickoffs_are_known_from_2019_on_and_only_then():
    assert dict(MATCHES.group_by('season').agg(pl.col('time').count()).iter_rows()) == {
        season: 380 * (season >= '1920') for season in SEASONS
    }


def test_kickoffs_are_between_noon_and_nine_by_british_clocks():
    local = MATCHES.drop_nulls('time').with_columns(
        hour=british(pl.col('date'), pl.col('time')).dt.hour()
    )
    assert (
        local.filter((pl.col('hour') < 12) | (pl.col('hour') >= 21))
        .select(*PAIR, 'date', 'time')
        .rows()
        == []
    )


# ---- names


def test_every_spelling_of_airsenal_is_a_club_of_the_file():
    assert {
        row['team'] for row in read_packaged_csv('team_aliases.csv') if row['source'] == 'airsenal'
    } == clubs(MATCHES)


def test_every_club_of_the_file_is_understood(engine):
    with write_transaction(engine) as connection:
        load_reference_data(connection)
    aliases = read_source_aliases(engine, BundledSource.name, 'E0')
    assert {aliases.get(team) for team in clubs(MATCHES)} == clubs(MATCHES)


# ---- beside other collections


def test_football_data_has_the_same_dates_and_scores(football_data):
    assert football_data.height == 1900
    assert (
        football_data.filter(pl.col('theirs').dt.date() != pl.col('ours').dt.date())
        .select(PAIR)
        .rows()
        == []
    )
    assert other_score(football_data) == []


def test_football_data_has_the_same_kickoffs_but_for_delays(football_data):
    minutes = football_data.select(
        *PAIR, later=(pl.col('ours') - pl.col('theirs')).dt.total_minutes()
    ).filter(pl.col('later') != 0)
    assert {
        (season, home, away): later for season, home, away, later in minutes.iter_rows()
    } == DELAYED


def test_two_tiers_has_the_same_dates_and_scores(two_tiers):
    assert two_tiers.height == 4180
    assert two_tiers.filter(pl.col('date') != pl.col('their_date')).select(PAIR).rows() == []
    assert other_score(two_tiers) == []


def test_openfootball_has_the_same_kickoffs_and_scores(openfootball):
    assert openfootball.height == 291
    assert (
        openfootball.filter(pl.col('ours').ne_missing(pl.col('theirs'))).select(PAIR).rows() == []
    )
    assert other_score(openfootball) == []
