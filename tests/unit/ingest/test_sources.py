"Every source reads every real file whole, plans what it should, keeps its token to itself, and refuses what is no payload."

import csv
import gzip
import io
import json
import os
import re
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from football_pred.core.schema import MATCH_STATUSES
from football_pred.ingest.api_sources import FootballDataOrg, TheOddsApi
from football_pred.ingest.competitions import SourceError, season_start_months
from football_pred.ingest.contract import (
    RAW_MATCH_COLUMNS,
    RAW_ODDS_COLUMNS,
    ParsedPayload,
    PayloadError,
    Source,
    SourceRequest,
    source_league_codes,
)
from football_pred.ingest.football_data_uk import BOOKMAKER_NAMES, FootballDataUK, price_columns
from football_pred.ingest.open_sources import BundledSource, InternationalResults, OpenFootball

SHARED = Path(
    os.environ.get('FOOTBALL_SHARED_DATA') or Path(__file__).parents[4] / 'shared' / 'data'
)
real = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f'needs the real data in {SHARED} (FOOTBALL_SHARED_DATA)'
)
TOKEN = 'hush-4711'
UK, OPEN, BUNDLED, NATIONS, ORG, ODDS = (
    FootballDataUK(),
    OpenFootball(),
    BundledSource(),
    InternationalResults(),
    FootballDataOrg(TOKEN),
    TheOddsApi(TOKEN),
)
SOURCES: dict[str, Source] = {
    source.name: source for source in (UK, OPEN, BUNDLED, NATIONS, ORG, ODDS)
}
E0 = UK.plan(['E0'], ['2425'])[0]
COMING = UK.plan(['E0'], [], include_fixtures=True)[0]
REQUESTS = {
    name: source.plan(['INT'], ['2026'])[0]
    if source is NATIONS
    else source.plan(['E0'], ['2425'])[0]
    for name, source in SOURCES.items()
}

MAIN = b'''Div,Date,Time,HomeTeam,AwayTeam,FTHG,FTAG,FTR,HTHG,HTAG,HTR,HS,AS,HST,AST,HF,AF,HC,AC,HY,AY,HR,AR,AvgH,AvgD,AvgA,AHh,AvgAHH,AvgAHA
E0,16/08/2024,20:00,Man United,Fulham,1,0,H,0,0,D,14,10,5,2,12,10,7,8,2,3,0,0,1.62,4.3,5.24,-0.75,1.85,2.07
E0,17/08/2024,12:30,Ipswich,Liverpool,0,2,A,0,0,D,7,18,2,5,9,18,2,10,3,1,0,0,8.34,5.8,1.34,1.5,2.05,1.88
'''
OPENED = json.dumps(
    {
        'name': 'English Premier League 2024/25',
        'matches': [
            {
                'round': 'Matchday 1',
                'date': '2024-08-16',
                'time': '20:00',
                'team1': 'Manchester United FC',
                'team2': 'Fulham FC',
                'score': {'ht': [0, 0], 'ft': [1, 0]},
            },
            {
                'round': 'Matchday 1',
                'date': '2024-08-17',
                'team1': 'Ipswich Town FC',
                'team2': 'Liverpool FC',
            },
        ],
    }
).encode()
ANSWER = json.dumps(
    {
        'filters': {'season': '2024'},
        'matches': [
            {
                'id': 497410,
                'utcDate': '2024-08-16T19:00:00Z',
                'status': 'FINISHED',
                'homeTeam': {'name': 'Manchester United FC', 'tla': 'MUN'},
                'awayTeam': {'name': 'Fulham FC'},
                'score': {
                    'winner': 'HOME_TEAM',
                    'duration': 'REGULAR',
                    'fullTime': {'home': 1, 'away': 0},
                    'halfTime': {'home': 0, 'away': 0},
                },
            }
        ],
    }
).encode()
PRICED = json.dumps(
    [
        {
            'id': 'e912',
            'sport_key': 'soccer_epl',
            'commence_time': '2024-08-16T19:00:00Z',
            'home_team': 'Manchester United',
            'away_team': 'Fulham',
            'bookmakers': [
                {
                    'key': 'pinnacle',
                    'title': 'Pinnacle',
                    'last_update': '2024-08-16T10:00:00Z',
                    'markets': [
                        {
                            'key': 'h2h',
                            'outcomes': [
                                {'name': 'Fulham', 'price': 5.24},
                                {'name': 'Manchester United', 'price': 1.62},
                                {'name': 'Draw', 'price': 4.3},
                            ],
                        },
                        {
                            'key': 'spreads',
                            'last_update': '2024-08-16T12:00:00+02:00',
                            'outcomes': [
                                {'name': 'Manchester United', 'price': 1.85, 'point': -0.75},
                                {'name': 'Fulham', 'price': 2.07, 'point': 0.75},
                            ],
                        },
                    ],
                }
            ],
        }
    ]
).encode()
NATIONAL = b'''date,home_team,away_team,home_score,away_score,tournament,city,country,neutral
2026-07-19,Spain,Argentina,1,0,FIFA World Cup,East Rutherford,United States,TRUE
2026-09-24,Spain,England,NA,NA,UEFA Nations League,Seville,Spain,FALSE
'''
GOOD = {
    'football_data_uk': MAIN,
    'openfootball': OPENED,
    'internationals': NATIONAL,
    'football_data_org': ANSWER,
    'the_odds_api': PRICED,
    'bundled': b''.join(BUNDLED.fetch(REQUESTS['bundled']).splitlines(keepends=True)[:5]),
}


def parse(name: str, content: bytes) -> ParsedPayload:
    return SOURCES[name].parse(content, REQUESTS[name])


def same(one: ParsedPayload, other: ParsedPayload) -> bool:
    return one.matches.equals(other.matches) and one.odds.equals(other.odds)


def keeps_the_contract(result: ParsedPayload) -> None:
    "Columns, types, numbering, no empty text, and the closed lists of words."
    assert result.matches.schema == pl.Schema(
        {'row_number': pl.Int64} | dict.fromkeys(RAW_MATCH_COLUMNS, pl.String)
    )
    assert result.odds.schema == pl.Schema(
        {'row_number': pl.Int64} | dict.fromkeys(RAW_ODDS_COLUMNS, pl.String)
    )
    assert result.matches['row_number'].to_list() == list(range(1, result.matches.height + 1))
    for frame, columns in ((result.matches, RAW_MATCH_COLUMNS), (result.odds, ('line', 'price'))):
        untidy = [
            (pl.col(name) == '') | (pl.col(name).str.strip_chars() != pl.col(name))
            for name in columns
        ]
        assert frame.filter(pl.any_horizontal(untidy)).height == 0
    assert set(result.odds['row_number']) <= set(result.matches['row_number'])
    words = {
        'market': {'1x2', 'total', 'handicap'},
        'phase': {'opening', 'closing'},
        'selection': {'home', 'draw', 'away', 'over', 'under'},
    }
    for column, known in words.items():
        assert set(result.odds[column]) <= known
    assert set(result.matches['status'].drop_nulls()) <= set(MATCH_STATUSES)
    assert result.odds['price'].null_count() == 0
    assert result.odds.filter(pl.col('market') == '1x2', pl.col('line').is_not_null()).height == 0


# ---- real files: football-data.co.uk

SHEETS = sorted((SHARED / 'football_data_uk').glob('*_*.csv')) or [SHARED]
STATISTICS = {
    'home_goals': 'FTHG',
    'away_goals': 'FTAG',
    'home_half_time_goals': 'HTHG',
    'away_half_time_goals': 'HTAG',
    'home_shots': 'HS',
    'away_shots': 'AS',
    'home_shots_on_target': 'HST',
    'away_shots_on_target': 'AST',
    'home_corners': 'HC',
    'away_corners': 'AC',
    'home_fouls': 'HF',
    'away_fouls': 'AF',
    'home_yellow_cards': 'HY',
    'away_yellow_cards': 'AY',
    'home_red_cards': 'HR',
    'away_red_cards': 'AR',
}
NOT_A_PRICE = {
    'Div',
    'Date',
    'Time',
    'HomeTeam',
    'AwayTeam',
    'FTR',
    'HTR',
    'Referee',
    'AHh',
    'AHCh',
    *STATISTICS.values(),
}


def by_hand(path: Path) -> list[dict[str, str]]:
    with open(path, encoding='utf-8-sig', newline='') as file:
        return [row for row in csv.DictReader(file) if any(row.values())]


@cache
def sheet(path: Path) -> ParsedPayload:
    league, season = path.stem.split('_')
    return UK.parse(path.read_bytes(), UK.plan([league], [season])[0])


@real
@pytest.mark.parametrize('path', SHEETS, ids=lambda path: path.stem)
def test_sheet_is_read_whole(path):
    "Every cell that means something, against the csv module."
    rows, result = by_hand(path), sheet(path)
    keeps_the_contract(result)
    matches = result.matches
    assert matches.height == len(rows)
    assert matches['date'].to_list() == ['-'.join(reversed(row['Date'].split('/'))) for row in rows]
    named = [(row['Div'], row['Time'], row['HomeTeam'], row['AwayTeam']) for row in rows]
    assert matches.select('league', 'time', 'home_team', 'away_team').rows() == named
    for ours, theirs in STATISTICS.items():
        assert matches[ours].to_list() == [row[theirs].strip() or None for row in rows], ours
    assert set(matches['season']) == {path.stem.split('_')[1]}
    assert matches['home_goals'].null_count() == 0
    priced = [name for name in rows[0] if name not in NOT_A_PRICE]
    assert result.odds.height == sum(bool(row[name]) for row in rows for name in priced)
    assert set(result.odds['bookmaker']) <= set(BOOKMAKER_NAMES.values())


@real
@pytest.mark.parametrize('path', SHEETS[::7], ids=lambda path: path.stem)
def test_prices_stand_where_they_belong(path):
    rows, odds = by_hand(path), sheet(path).odds
    known = {
        row[:5]: row[5:]
        for row in odds.select(
            'row_number', 'bookmaker', 'market', 'selection', 'phase', 'line', 'price'
        ).rows()
    }
    assert len(known) == odds.height
    columns = {
        'AvgCH': ('market_average', '1x2', 'home', 'closing', None),
        'PSCA': ('pinnacle', '1x2', 'away', 'closing', None),
        'B365D': ('bet365', '1x2', 'draw', 'opening', None),
        'MaxH': ('market_maximum', '1x2', 'home', 'opening', None),
        'P>2.5': ('pinnacle', 'total', 'over', 'opening', '2.5'),
        'AvgC<2.5': ('market_average', 'total', 'under', 'closing', '2.5'),
        'B365AHH': ('bet365', 'handicap', 'home', 'opening', 'AHh'),
        'PCAHA': ('pinnacle', 'handicap', 'away', 'closing', 'AHCh'),
    }
    for number, row in enumerate(rows, 1):
        for name, (*offer, line) in columns.items():
            if line in row:
                line = f'{float(row[line]):g}' if row[line] else None
            assert known.get((number, *offer)) == ((line, row[name]) if row[name] else None), (
                number,
                name,
            )


@real
def test_every_price_of_every_sheet():
    "What the whole collection holds, with its flaws: prices of 0 and handicaps without a size."
    odds, rows = (
        pl.concat([sheet(path).odds for path in SHEETS]),
        [row for path in SHEETS for row in by_hand(path)],
    )
    assert (len(rows), odds.height) == (19_307, 1_562_317)
    average = odds.filter(
        pl.col('bookmaker') == 'market_average',
        pl.col('market') == '1x2',
        pl.col('phase') == 'closing',
    )
    assert average.height == 3 * (19_307 - 1)
    worthless = sum(
        float(value) <= 1
        for row in rows
        for name, value in row.items()
        if value and name not in NOT_A_PRICE
    )
    assert odds.filter(pl.col('price').cast(pl.Float64) <= 1).height == worthless == 17
    sizeless = sum(
        bool(value)
        for row in rows
        for name, value in row.items()
        if re.fullmatch(r'\w+AH[HA]', name) and not row['AHCh' if 'CAH' in name else 'AHh']
    )
    assert (
        odds.filter(pl.col('market') == 'handicap', pl.col('line').is_null()).height
        == sizeless
        == 10
    )


@real
def test_matches_that_were_decided_elsewhere():
    "The sheets do not say that a result was awarded; such a row has a score and nothing else."
    bare = [
        row
        for path in SHEETS
        for row in sheet(path)
        .matches.filter(pl.col('home_half_time_goals').is_null())
        .select('league', 'season', 'home_team', 'home_goals', 'away_goals', 'status', 'home_shots')
        .rows()
    ]
    assert bare == [
        ('D1', '2425', 'Union Berlin', '0', '2', None, None),
        ('F2', '2021', 'Niort', '0', '3', None, None),
        ('F2', '2122', 'Nancy', '0', '3', None, None),
        ('F2', '2223', 'Bordeaux', '0', '1', None, None),
        ('I2', '2021', 'Salernitana', '3', '0', None, None),
    ]


@real
def test_page_of_coming_matches():
    path = SHARED / 'football_data_uk' / 'fixtures.csv'
    rows, result = by_hand(path), UK.parse(path.read_bytes(), COMING)
    keeps_the_contract(result)
    assert path.read_bytes().count(b'\r\n') == 24
    assert result.matches.select('league', 'home_team', 'away_team').rows() == [
        (row['Div'], row['HomeTeam'], row['AwayTeam']) for row in rows
    ]
    assert (set(result.matches['season']), result.matches['home_goals'].null_count()) == (
        {'2526'},
        23,
    )
    assert result.odds.height == sum(
        bool(value) for row in rows for name, value in row.items() if name not in NOT_A_PRICE
    )
    assert {'betmgm', 'betfred', 'coral'} <= set(result.odds['bookmaker'])


@real
def test_times_are_london_times():
    "Against the bundled results, which are in UTC and use the same names."
    compared = 0
    for season in ('2021', '2122', '2223', '2324', '2425'):
        request = BUNDLED.plan(['E0'], [season])[0]
        ours = BUNDLED.parse(BUNDLED.fetch(request), request).matches.filter(
            pl.col('time').is_not_null()
        )
        theirs = sheet(SHARED / 'football_data_uk' / f'E0_{season}.csv').matches
        both = ours.join(
            theirs, on=['home_team', 'away_team', 'home_goals', 'away_goals'], suffix='_uk'
        ).select(
            utc=pl.concat_str('date', 'time', separator=' ').str.to_datetime(
                '%Y-%m-%d %H:%M', time_zone='UTC'
            ),
            london=pl.concat_str('date_uk', 'time_uk', separator=' ')
            .str.to_datetime('%Y-%m-%d %H:%M')
            .dt.replace_time_zone('Europe/London'),
        )
        assert both.height == ours.height
        compared += both.height
        assert (
            both.filter(pl.col('utc') == pl.col('london').dt.convert_time_zone('UTC')).height
            >= 0.99 * both.height
        )
    assert compared > 1800


@real
@pytest.mark.parametrize(
    ('league', 'zone'),
    [
        ('E0', 'Europe/London'),
        ('D1', 'Europe/Berlin'),
        ('SP1', 'Europe/Madrid'),
        ('I1', 'Europe/Rome'),
        ('F1', 'Europe/Paris'),
    ],
)
@pytest.mark.parametrize('season', ['2324', '2425'])
def test_times_are_london_times_in_every_league(league, zone, season):
    "Against the local times of openfootball, for matches that day and score identify."

    def moments(result: ParsedPayload, from_zone: str) -> dict[tuple[str, ...], str]:
        found: dict[tuple[str, ...], list[str]] = {}
        for date, time, *score in (
            result.matches.select('date', 'time', 'home_goals', 'away_goals').drop_nulls().rows()
        ):
            local = (
                datetime.fromisoformat(f'{date}T{time}')
                .replace(tzinfo=ZoneInfo(from_zone))
                .astimezone(ZoneInfo(zone))
            )
            found.setdefault((local.strftime('%Y-%m-%d'), *score), []).append(
                local.strftime('%H:%M')
            )
        return {key: times[0] for key, times in found.items() if len(times) == 1}

    uk = moments(sheet(SHARED / 'football_data_uk' / f'{league}_{season}.csv'), UK.time_zone)
    local = moments(opened(open_file(league, season), league, season), zone)
    both = uk.keys() & local.keys()
    assert len(both) > 200
    assert sum(uk[key] == local[key] for key in both) >= 0.98 * len(both)


# ---- real files: the others

OPENED_FILES = sorted((SHARED / 'openfootball').glob('*/*.json')) or [SHARED]
LEAGUE_OF = {code: league for league, code in source_league_codes('openfootball').items()}


def open_file(league: str, season: str) -> Path:
    return (
        SHARED
        / 'openfootball'
        / f'20{season[:2]}-{season[2:]}'
        / f"{source_league_codes('openfootball')[league]}.json"
    )


@cache
def opened(path: Path, league: str, season: str) -> ParsedPayload:
    return OPEN.parse(path.read_bytes(), OPEN.plan([league], [season])[0])


@real
@pytest.mark.parametrize('path', OPENED_FILES, ids=lambda path: f'{path.parent.name}-{path.stem}')
def test_openfootball_is_read_whole(path):
    league, season = LEAGUE_OF[path.stem], path.parent.name[2:4] + path.parent.name[5:]
    matches, result = json.loads(path.read_text('utf-8'))['matches'], opened(path, league, season)
    keeps_the_contract(result)
    assert OPEN.plan([league], [season])[0].url.endswith(f'{path.parent.name}/{path.name}')
    columns = (
        'date',
        'time',
        'home_team',
        'away_team',
        'status',
        'league',
        'season',
        'home_goals',
        'away_goals',
        'home_half_time_goals',
        'away_half_time_goals',
    )
    expected = [
        (
            match['date'],
            match.get('time'),
            match['team1'],
            match['team2'],
            match.get('status'),
            league,
            season,
            *[
                None if goals is None else str(goals)
                for part in ('ft', 'ht')
                for goals in match['score'].get(part, (None, None))
            ],
        )
        for match in matches
    ]
    assert result.matches.select(columns).rows() == expected


@real
def test_season_that_is_under_way():
    matches = opened(open_file('E0', '2526'), 'E0', '2526').matches
    assert matches.height == 380
    assert matches.filter(pl.col('home_goals').is_null())['date'].min() == '2026-03-14'
    moved = matches.filter(pl.col('status') == 'postponed')
    assert moved.select('date', 'time', 'home_team', 'home_goals').rows() == [
        ('2026-03-21', None, 'Manchester City FC', None)
    ]


@real
@pytest.mark.parametrize('packed', [True, False])
def test_internationals_are_read_whole(packed):
    content = (SHARED / 'internationals' / 'results.csv.gz').read_bytes()
    text = gzip.decompress(content)
    rows = list(csv.DictReader(io.StringIO(text.decode('utf-8'))))
    result = parse('internationals', content if packed else text)
    keeps_the_contract(result)
    assert result.matches.height == len(rows) == 49_520
    columns = (
        'date',
        'home_team',
        'away_team',
        'home_goals',
        'away_goals',
        'neutral',
        'season',
        'league',
    )
    expected = [
        (
            *[row[name] for name in ('date', 'home_team', 'away_team', 'home_score', 'away_score')],
            row['neutral'].lower(),
            row['date'][:4],
            'INT',
        )
        for row in rows
    ]
    assert result.matches.select(columns).rows() == expected


def test_bundled_results_are_read_whole():
    for request in BUNDLED.plan(
        ['E0'], json.loads((BUNDLED.folder / 'premier_league.json').read_text())['seasons']
    ):
        result = BUNDLED.parse(BUNDLED.fetch(request), request)
        keeps_the_contract(result)
        assert (
            result.matches.height,
            set(result.matches['season']),
            set(result.matches['league']),
        ) == (380, {request.season}, {'E0'})


# ---- leagues and plans


def test_league_files_fit_together():
    path = Path(BUNDLED.folder)
    leagues, codes = (
        list(csv.DictReader(io.StringIO((path / name).read_text('utf-8'))))
        for name in ('leagues.csv', 'league_codes.csv')
    )
    names = [row['league'] for row in leagues]
    assert len(names) == len(set(names)) == 39
    assert {row['league'] for row in codes} == set(names)
    assert {row['source'] for row in codes} == {*SOURCES, 'two_tiers'}
    assert max(Counter((row['source'], row['league']) for row in codes).values()) == 1
    assert max(Counter((row['source'], row['code']) for row in codes).values()) == 1
    for row in leagues:
        assert all(
            (
                row['name'],
                row['country'],
                ZoneInfo(row['time_zone']),
                int(row['tier']) > 0,
                int(row['teams'] or 2) > 1,
            )
        )
    assert {'E0', 'E1', 'D1', 'D2', 'SP1', 'SP2', 'I1', 'I2', 'F1', 'F2', 'INT'} <= set(names)
    assert set(season_start_months()) == set(names)


@pytest.mark.parametrize(
    ('name', 'league', 'season', 'url'),
    [
        ('football_data_uk', 'E0', '2526', 'https://www.football-data.co.uk/mmz4281/2526/E0.csv'),
        ('football_data_uk', 'SP2', '9900', 'https://www.football-data.co.uk/mmz4281/9900/SP2.csv'),
        ('football_data_uk', 'ARG', '2025', 'https://www.football-data.co.uk/new/ARG.csv'),
        ('football_data_uk', 'ARG', '1213', 'https://www.football-data.co.uk/new/ARG.csv'),
        (
            'openfootball',
            'E0',
            '2526',
            'https://raw.githubusercontent.com/openfootball/football.json/master/2025-26/en.1.json',
        ),
        (
            'openfootball',
            'BRA',
            '2021',
            'https://raw.githubusercontent.com/openfootball/football.json/master/2021/br.1.json',
        ),
        (
            'internationals',
            'INT',
            '2026',
            'https://raw.githubusercontent.com/martj42/international_results/master/results.csv',
        ),
        (
            'football_data_org',
            'D1',
            '2526',
            'https://api.football-data.org/v4/competitions/BL1/matches?season=2025',
        ),
        (
            'football_data_org',
            'BRA',
            '2025',
            'https://api.football-data.org/v4/competitions/BSA/matches?season=2025',
        ),
        (
            'the_odds_api',
            'E0',
            '2526',
            'https://api.the-odds-api.com/v4/sports/soccer_epl/odds?regions=eu&markets=h2h,totals,spreads&oddsFormat=decimal&dateFormat=iso',
        ),
    ],
)
def test_plan(name, league, season, url):
    (request,) = SOURCES[name].plan([league], [season])
    assert (request.url, request.league, request.source) == (url, league, name)
    assert request.season == (
        None if 'new/' in url or name in ('internationals', 'the_odds_api') else season
    )


def test_plan_goes_by_league_and_then_by_season():
    requests = UK.plan(['E0', 'AUT', 'D1'], ['2425', '2526'], include_fixtures=True)
    assert [(request.league, request.season, request.kind) for request in requests] == [
        ('E0', '2425', 'results'),
        ('E0', '2526', 'results'),
        ('AUT', None, 'results'),
        ('D1', '2425', 'results'),
        ('D1', '2526', 'results'),
        (None, None, 'fixtures'),
        (None, None, 'fixtures'),
    ]
    assert [request.url.rsplit('/', 1)[1] for request in requests[-2:]] == [
        'fixtures.csv',
        'new_league_fixtures.csv',
    ]
    assert UK.plan(['E0'], []) == []


@pytest.mark.parametrize(
    ('name', 'league', 'season', 'reason'),
    [
        (
            'football_data_uk',
            'E9',
            '2526',
            "source football_data_uk has no league 'E9'; did you mean E",
        ),
        ('football_data_uk', 'INT', '2026', "source football_data_uk has no league 'INT'"),
        (
            'football_data_uk',
            'E0',
            '2025',
            "league E0 has no season '2025'; a season is written as in '2425' or '2526'",
        ),
        (
            'football_data_uk',
            'E0',
            '25/26',
            "league E0 has no season '25/26'; a season is written as in '2526'",
        ),
        ('football_data_uk', 'E0', '\u0662\u0665\u0662\u0666', 'league E0 has no season'),
        (
            'football_data_uk',
            'BRA',
            '2526',
            "league BRA has no season '2526'; a season is written as in '2025' or '2026'",
        ),
        ('football_data_uk', 'E0', '9293', "no season '9293' of league E0; its first is 9394"),
        ('openfootball', 'EC', '2526', "source openfootball has no league 'EC'"),
        ('openfootball', 'E0', '', "league E0 has no season ''"),
        ('internationals', 'E0', '2026', "source internationals has no league 'E0'; known: INT"),
        ('internationals', 'INT', '2526', "league INT has no season '2526'"),
        ('bundled', 'E0', '2627', "source bundled has no season '2627'; did you mean 2526"),
        ('football_data_org', 'USA', '2025', "source football_data_org has no league 'USA'"),
        ('the_odds_api', 'EC', '2526', "source the_odds_api has no league 'EC'"),
    ],
)
def test_plan_names_what_is_not_there(name, league, season, reason):
    with pytest.raises(SourceError, match=re.escape(reason)):
        SOURCES[name].plan([league], [season])


@pytest.mark.parametrize(
    'make',
    [
        FootballDataUK,
        OpenFootball,
        InternationalResults,
        lambda url: FootballDataOrg(TOKEN, url),
        lambda url: TheOddsApi(TOKEN, url),
    ],
)
def test_address_can_be_another(make):
    source = make('http://127.0.0.1:8000/data/')
    league, season = ('INT', '2026') if source.name == 'internationals' else ('E0', '2526')
    url = source.plan([league], [season])[0].url
    assert url.startswith('http://127.0.0.1:8000/data/')
    assert '//' not in url.removeprefix('http://')


# ---- tokens


@pytest.mark.parametrize('source', [ORG, ODDS], ids=lambda source: source.name)
def test_token_is_sent_and_shown_nowhere(source):
    (request,) = source.plan(['E0'], ['2526'])
    sent = source.headers(request) | source.params(request)
    assert list(sent.values()) == [TOKEN]
    assert TOKEN not in repr(source) + str(source) + repr(request) + request.url
    for content in (
        b'{"message": "no such token: hush-4711", "errorCode": 400}',
        b'{"message": "hush-4711"}',
        b'<title>hush</title>',
        b'[1',
    ):
        with pytest.raises(PayloadError) as error:
            source.parse(content, request)
        assert TOKEN not in ''.join(traceback.format_exception(error.value))
    bare = type(source)()
    with pytest.raises(SourceError, match='needs a token'):
        bare.headers(request) | bare.params(request)


@pytest.mark.parametrize('name', ['football_data_uk', 'openfootball', 'bundled', 'internationals'])
def test_open_sources_send_nothing(name):
    assert SOURCES[name].headers(REQUESTS[name]) == SOURCES[name].params(REQUESTS[name]) == {}


def test_kept_payloads_are_read_without_a_token():
    assert same(
        FootballDataOrg().parse(ANSWER, REQUESTS['football_data_org']),
        parse('football_data_org', ANSWER),
    )
    assert same(TheOddsApi().parse(PRICED, REQUESTS['the_odds_api']), parse('the_odds_api', PRICED))


# ---- good payloads in other clothes


@pytest.mark.parametrize('name', SOURCES)
def test_good_payload_keeps_the_contract(name):
    result = parse(name, GOOD[name])
    keeps_the_contract(result)
    assert result.matches.height > 0
    assert same(result, parse(name, GOOD[name]))


CLOTHES: dict[str, Callable[[bytes], bytes]] = {
    'byte-order mark': lambda text: b'\xef\xbb\xbf' + text,
    'mark read as Latin-1': lambda text: 'ï»¿'.encode() + text,
    'CRLF': lambda text: text.replace(b'\n', b'\r\n'),
    'CR': lambda text: text.replace(b'\n', b'\r'),
    'packed': gzip.compress,
    'empty rows': lambda text: text + b',,,,\n' * 9 + b'\n\n',
    'empty row in between': lambda text: text.replace(b'\n', b'\n,,,,\n', 1),
    'empty columns': lambda text: text.replace(b'\n', b',,,\n'),
    'header longer': lambda text: text.replace(b'\n', b',,\n', 1),
    'row longer than header': lambda text: text.replace(b',2.07\n', b',2.07,stray,9\n'),
    'no last line end': lambda text: text[:-1],
    'short years': lambda text: text.replace(b'/2024', b'/24'),
    'two date forms': lambda text: text.replace(b'16/08/2024', b'16/08/24'),
    'ISO date': lambda text: text.replace(b'17/08/2024', b'2024-08-17'),
    'tabs': lambda text: text.replace(b',', b'\t'),
    'space before time': lambda text: text.replace(b',12:30', b', 12:30'),
    'quoted': lambda text: text.replace(b'Man United', b'"Man United"'),
    'spaces in header': lambda text: text.replace(b'Div,Date', b' Div , Date '),
    'spaces in cells': lambda text: text.replace(b'Fulham,1,', b'Fulham , 1 ,'),
}


@pytest.mark.parametrize('change', CLOTHES.values(), ids=CLOTHES)
def test_sheet_in_other_clothes(change):
    assert same(UK.parse(change(MAIN), E0), UK.parse(MAIN, E0))


def test_latin_1_and_quoted_commas():
    text = MAIN.decode().replace('Fulham', '1. FC Köln').replace('Liverpool', '"Brighton, Hove"')
    for encoding in ('utf-8', 'latin-1', 'cp1252'):
        assert UK.parse(text.encode(encoding), E0).matches['away_team'].to_list() == [
            '1. FC Köln',
            'Brighton, Hove',
        ]


NEW_COLUMNS = ['Attendance', 'HxG', 'AxG', 'Referee', 'BbAH', 'Bb1X2', 'HFKC', '']


@settings(deadline=None)
@given(
    order=st.permutations(range(29)),
    drop=st.sets(st.integers(7, 28)),
    extra=st.lists(st.sampled_from(NEW_COLUMNS), unique=True),
)
def test_columns_are_found_by_name(order, drop, extra):
    "Whatever the order, whatever is missing, whatever is new."
    rows = list(csv.reader(io.StringIO(MAIN.decode())))
    kept = [place for place in order if place not in drop]
    lines = [
        [*(row[place] for place in kept), *(extra if row is rows[0] else ['7'] * len(extra))]
        for row in rows
    ]
    result, whole = (
        UK.parse('\n'.join(map(','.join, [*lines, []])).encode(), E0),
        UK.parse(MAIN, E0),
    )
    left = {rows[0][place] for place in kept}
    columns = [
        'date',
        'home_team',
        'away_team',
        *[ours for ours, theirs in STATISTICS.items() if theirs in left],
    ]
    assert result.matches.select(columns).equals(whole.matches.select(columns))
    assert all(
        result.matches[ours].null_count() == 2
        for ours, theirs in STATISTICS.items()
        if theirs not in left
    )
    assert result.odds.height == 2 * len(left & {'AvgH', 'AvgD', 'AvgA', 'AvgAHH', 'AvgAHA'})


def test_short_rows_are_filled_and_nothing_is_lost():
    rows = MAIN.decode().splitlines()
    result = UK.parse(
        '\n'.join(
            [
                rows[0],
                ','.join(rows[1].split(',')[:8]),
                rows[2],
                'E0,18/08/2024,16:30,Chelsea,Man City,0,2\n',
            ]
        ).encode(),
        E0,
    )
    kept = result.matches.select('home_team', 'home_goals', 'home_shots').rows()
    assert kept == [('Man United', '1', None), ('Ipswich', '0', '7'), ('Chelsea', '0', None)]
    assert set(result.odds['row_number']) == {2}


OLD = b'''Div,Date,HT,AT,HG,AG,GBH,GBD,GBA,GBAHH,GBAHA,GBAH,BbMxH,BbAvH,BbAH,BbAHh,BbAvAHH,BbAvAHA
E0,13/08/05,Everton,Man United,0,2,3.4,3.2,2,1.9,1.95,0.25,3.6,3.41,9,0.50,1.72,2.15
'''
EXTRA = b'''Country,League,Season,Date,Time,Home,Away,HG,AG,Res,PSCH,PSCD,PSCA,AvgCH,AvgCD,AvgCA
Argentina,Liga Profesional ,2012/2013,04/08/2012,01:10,Velez Sarsfield,Argentinos Jrs,3,0,H,2,3.24,4.55,1.97,3.12,3.96
Argentina,Copa De La Liga Profesional,2024,25/01/2024, 22:00,Racing Club,Independiente,1,0,H,,,,,,
Argentina ,Liga Profesional,2026,07/04/2026,01:15,Instituto,Defensa y Justicia,2,0,H,,,,1.95,3.1,4.08
'''
EXTRA_COMING = b'''Country,League,Date,Time,Home,Away,PH,PD,PA,MaxH,MaxD,MaxA
Austria,Admiral Bundesliga,03/09/2022,16:00,Salzburg,Tirol,1.17,8.52,16.03,1.17,8.7,17
USA,MLS,04/09/2022,00:30,Cincinnati,Charlotte,,,,,,
,,,,,,,,,,,
'''


def test_old_layout():
    result = UK.parse(OLD, UK.plan(['E0'], ['0506'])[0])
    assert result.matches.select('date', 'home_team', 'away_goals', 'season').row(0) == (
        '2005-08-13',
        'Everton',
        '2',
        '0506',
    )
    assert result.odds.filter(pl.col('market') == 'handicap').select(
        *RAW_ODDS_COLUMNS[:5]
    ).rows() == [
        ('gamebookers', 'handicap', '0.25', 'home', '1.9'),
        ('gamebookers', 'handicap', '0.25', 'away', '1.95'),
        ('betbrain_average', 'handicap', '0.5', 'home', '1.72'),
        ('betbrain_average', 'handicap', '0.5', 'away', '2.15'),
    ]
    assert result.odds.filter(pl.col('market') == '1x2').height == 5


def test_extra_layout():
    result = UK.parse(EXTRA, UK.plan(['ARG'], ['2026'])[0])
    assert result.matches.select('league', 'season', 'date', 'time', 'home_goals').rows() == [
        ('ARG', '1213', '2012-08-04', '01:10', '3'),
        ('Argentina Copa De La Liga Profesional', '2024', '2024-01-25', '22:00', '1'),
        ('ARG', '2026', '2026-04-07', '01:15', '2'),
    ]
    assert (result.odds.height, set(result.odds['phase'])) == (9, {'closing'})


def test_extra_layout_of_coming_matches():
    result = UK.parse(EXTRA_COMING, UK.plan(['AUT', 'USA'], [], include_fixtures=True)[0])
    assert result.matches.select('league', 'season').rows() == [('AUT', '2223'), ('USA', '2022')]
    assert set(result.odds['bookmaker']) == {'pinnacle', 'market_maximum'}


@pytest.mark.parametrize('book', sorted(BOOKMAKER_NAMES))
def test_every_bookmaker_is_told_apart(book):
    "Opening and closing prices of each one, in a header that has them all."
    every = [
        f'{one}{closing}{bet}'
        for one in BOOKMAKER_NAMES
        for closing in ('', 'C')
        for bet in ('H', 'D', 'A', '>2.5', '<2.5', 'AHH', 'AHA')
    ]
    about = price_columns(every)
    assert about.height == len(every) == len(set(every))
    own = about.filter(
        pl.col('column').is_in(
            [name for name in every if re.fullmatch(rf'{book}C?([HDA]|[<>]2\.5|AH[HA])', name)]
        )
    )
    assert set(own['bookmaker']) == {BOOKMAKER_NAMES[book]}
    assert own.group_by('phase').len().sort('phase').rows() == [('closing', 7), ('opening', 7)]


@pytest.mark.parametrize(
    ('score', 'expected'),
    [
        ({'ft': [4, 2], 'ht': [1, 0]}, ('4', '2', '1', '0')),
        ({'ft': [0, 0]}, ('0', '0', None, None)),
        ([4, 2], ('4', '2', None, None)),
        ({}, (None,) * 4),
        (None, (None,) * 4),
        ([], (None,) * 4),
        ({'ft': None}, (None,) * 4),
        ({'ft': [None, None]}, (None,) * 4),
        ({'ft': [1, 1], 'et': [2, 1], 'p': [3, 4]}, ('1', '1', None, None)),
    ],
)
def test_scores_of_openfootball(score, expected):
    content = json.dumps(
        {
            'matches': [
                {'date': '2026-04-04', 'team1': 'Everton FC', 'team2': 'Arsenal FC', 'score': score}
            ]
        }
    ).encode()
    goals = parse('openfootball', content).matches.select(
        'home_goals', 'away_goals', 'home_half_time_goals', 'away_half_time_goals'
    )
    assert goals.row(0) == expected


@pytest.mark.parametrize(
    ('written', 'status', 'goals'),
    [
        ('SCHEDULED', 'scheduled', None),
        ('TIMED', 'scheduled', None),
        ('IN_PLAY', 'in_play', None),
        ('PAUSED', 'in_play', None),
        ('FINISHED', 'finished', '1'),
        ('SUSPENDED', 'abandoned', None),
        ('POSTPONED', 'postponed', None),
        ('CANCELLED', 'cancelled', None),
        ('AWARDED', 'awarded', '1'),
    ],
)
def test_statuses_of_football_data_org(written, status, goals):
    result = parse('football_data_org', ANSWER.replace(b'FINISHED', written.encode()))
    assert result.matches.select('status', 'home_goals', 'time', 'source_id').row(0) == (
        status,
        goals,
        '19:00',
        '497410',
    )


@pytest.mark.parametrize(
    ('score', 'goals'),
    [
        (
            {
                'duration': 'PENALTY_SHOOTOUT',
                'fullTime': {'home': 6, 'away': 5},
                'regularTime': {'home': 1, 'away': 1},
            },
            ('1', '1'),
        ),
        ({'duration': 'EXTRA_TIME', 'fullTime': {'home': 2, 'away': 1}}, (None, None)),
        ({'fullTime': {'home': None, 'away': None}}, (None, None)),
        (None, (None, None)),
        ({}, (None, None)),
    ],
)
def test_scores_of_football_data_org(score, goals):
    data = json.loads(ANSWER)
    data['matches'][0]['score'] = score
    assert (
        parse('football_data_org', json.dumps(data).encode())
        .matches.select('home_goals', 'away_goals')
        .row(0)
        == goals
    )


def test_prices_of_the_odds_api():
    result = parse('the_odds_api', PRICED)
    match = result.matches.select(
        'date', 'time', 'season', 'status', 'home_goals', 'source_id'
    ).row(0)
    assert match == ('2024-08-16', '19:00', '2425', None, None, 'e912')
    assert set(result.odds['known_at']) == {'2024-08-16T10:00:00Z'}
    assert result.odds.select('market', 'line', 'selection', 'price').rows() == [
        ('1x2', None, 'away', '5.24'),
        ('1x2', None, 'home', '1.62'),
        ('1x2', None, 'draw', '4.3'),
        ('handicap', '-0.75', 'home', '1.85'),
        ('handicap', '-0.75', 'away', '2.07'),
    ]
    assert all(datetime.fromisoformat(moment).tzinfo == UTC for moment in result.odds['known_at'])


# ---- bad payloads

TABLES, RECORDS = (
    ('football_data_uk', 'bundled', 'internationals'),
    ('openfootball', 'football_data_org', 'the_odds_api'),
)


@pytest.mark.parametrize('name', SOURCES)
@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'the payload is empty'),
        (b'\r\n \n', 'the payload is empty'),
        (b'\xef\xbb\xbf', 'the payload is empty'),
        (gzip.compress(b"", mtime=0), 'the payload is empty'),
        (b',,,\n,,\n', 'empty|not JSON'),
        (b'404: Not Found', 'missing columns|not JSON'),
        (
            b'<!DOCTYPE html><html><head><title>Just a  moment...</title></head></html>',
            r'a web page \(Just a moment\.\.\.\) instead of',
        ),
        (b'\n\n<HTML><body>503 Service Unavailable</body></HTML>', 'a web page instead of'),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', 'a web page instead of'),
        (b'\x89PNG\r\n\x1a\n\0\0\0', 'binary data instead of'),
        ('Div,Date'.encode('utf-16'), 'binary data instead of'),
        (gzip.compress(MAIN, mtime=0)[:50], 'cannot be decompressed'),
        (b'\x1f\x8bnot packed at all', 'cannot be decompressed'),
        (b'"', 'not a table|not JSON'),
    ],
)
def test_no_payload_at_all(name, content, reason):
    with pytest.raises(PayloadError, match=reason):
        parse(name, content)


@pytest.mark.parametrize('name', TABLES)
def test_table_that_is_cut_off(name):
    "Wherever a transfer breaks off inside a row, it is noticed or only the last value of a whole row is shorter."
    content, whole = GOOD[name], parse(name, GOOD[name])
    for end in range(1, len(content) - 1):
        try:
            cut = parse(name, content[:end])
        except PayloadError:
            continue
        lines = content[:end].count(b'\n')
        assert content[end - 1 : end] == b'\n' or content[
            content.rfind(b'\n', 0, end) + 1 : end
        ].count(b',') == content.split(b'\n')[0].count(b',')
        assert cut.matches.height in (lines - 1, lines)
        assert cut.matches.height < whole.matches.height or content[end:].count(b',') == 0


@pytest.mark.parametrize('name', RECORDS)
def test_answer_that_is_cut_off(name):
    for end in range(1, len(GOOD[name])):
        with pytest.raises(PayloadError, match='not JSON, or cut off'):
            parse(name, GOOD[name][:end])


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (MAIN.replace(b'HomeTeam', b'Heim'), 'missing columns: HomeTeam'),
        (MAIN.replace(b'Div', b'D', 1), 'missing columns: Div'),
        (MAIN.replace(b'Date,', b'Day,'), 'missing columns: Date'),
        (MAIN.replace(b'AwayTeam,FTHG', b'Guests,Goals'), 'missing columns: AwayTeam, FTHG'),
        (MAIN.replace(b'E0,', b'E1,'), 'league E0 was requested, but the file holds E1'),
        (MAIN.replace(b',20:00,Man', b',"20:00,Man'), 'not a table'),
        (
            MAIN[:-40],
            'the table is cut off: its last row has 18 fields, the row before it 29, and no newline',
        ),
        (MAIN.splitlines()[0], 'the table is cut off: its last row has 29 fields and no newline'),
        (
            b'Country,League,Date\nBrazil,Serie A,1\n',
            'missing columns: HomeTeam, AwayTeam, FTHG, FTAG',
        ),
    ],
)
def test_sheet_that_is_none(content, reason):
    with pytest.raises(PayloadError, match=reason):
        UK.parse(content, E0)


def test_sheet_without_rows_is_an_empty_one():
    keeps_the_contract(UK.parse(MAIN.splitlines(keepends=True)[0], E0))
    keeps_the_contract(UK.parse(b'Div,Date,HomeTeam,AwayTeam\n', COMING))


def test_what_cannot_be_read_stays_as_written():
    strange = (
        MAIN.replace(b'16/08/2024', b'32/08/2024')
        .replace(b'20:00', b'8 pm')
        .replace(b'Fulham,1', b'Fulham,one')
    )
    result = UK.parse(strange.replace(b'-0.75', b'"0, -0.5"'), E0)
    assert result.matches.select('date', 'time', 'home_goals').row(0) == (
        '32/08/2024',
        '8 pm',
        'one',
    )
    assert (
        result.odds.filter(pl.col('market') == 'handicap')['line'].to_list()
        == ['0, -0.5'] * 2 + ['1.5'] * 2
    )


def changed(content: bytes, change: Callable) -> bytes:
    data = json.loads(content)
    change(data)
    return json.dumps(data).encode()


def first_market(data: list) -> dict:
    return data[0]['bookmakers'][0]['markets'][0]


@pytest.mark.parametrize(
    ('name', 'content', 'reason'),
    [
        ('openfootball', b'[]', 'payload: matches is missing'),
        ('openfootball', b'{"matches": null}', 'payload: matches is missing'),
        ('openfootball', b'{"matches": "none"}', 'matches is a str'),
        ('openfootball', b'{"rounds": [1]}', 'payload: matches is missing'),
        ('openfootball', b'{"matches": [null]}', 'match 1: not a record'),
        ('openfootball', b'{"matches": [{}]}', 'match 1: team1 is missing'),
        (
            'openfootball',
            changed(OPENED, lambda data: data['matches'][1].update(score='4-2')),
            'match 2: score is',
        ),
        (
            'openfootball',
            changed(OPENED, lambda data: data['matches'][0].update(score=[1, 2, 3])),
            'match 1: score is',
        ),
        (
            'openfootball',
            changed(OPENED, lambda data: data['matches'][0].update(status='on hold')),
            "match 1: unknown status 'on hold'",
        ),
        (
            'openfootball',
            changed(OPENED, lambda data: data['matches'][0].update(team1='\ud800')),
            'not valid Unicode',
        ),
        (
            'openfootball',
            b'{"matches": [{"team1": "a", "team2": "b", "score": {"ft": [NaN, 1]}}]}',
            'NaN is not a number',
        ),
        ('openfootball', b'{"a":' * 60_000, 'cut off'),
        (
            'football_data_org',
            b'{"message": "The resource is restricted.", "errorCode": 403}',
            r'football_data_org answers with an error: The resource is restricted\. \(403\)',
        ),
        (
            'football_data_org',
            b'{"error": 429, "message": "You reached your request limit."}',
            r'request limit\. \(429\)',
        ),
        ('football_data_org', b'{"count": 0}', 'matches is missing'),
        ('football_data_org', b'{"matches": [7]}', 'match 1: status is missing'),
        (
            'football_data_org',
            changed(ANSWER, lambda data: data['matches'][0].pop('homeTeam')),
            'match 1: homeTeam is missing',
        ),
        (
            'football_data_org',
            changed(ANSWER, lambda data: data['matches'][0].update(status='DELAYED')),
            "unknown status 'DELAYED'",
        ),
        (
            'football_data_org',
            changed(ANSWER, lambda data: data['matches'][0].update(utcDate=None)),
            'utcDate is missing',
        ),
        (
            'football_data_org',
            changed(ANSWER, lambda data: data['matches'][0].update(score=[1, 0])),
            'score is a list',
        ),
        (
            'the_odds_api',
            b'{"message": "API key is not valid", "error_code": "INVALID_KEY"}',
            r'the_odds_api answers with an error: API key is not valid \(INVALID_KEY\)',
        ),
        ('the_odds_api', b'{"data": []}', 'payload is a dict, expected a list'),
        ('the_odds_api', b'["event"]', 'match 1: commence_time is missing'),
        (
            'the_odds_api',
            changed(PRICED, lambda data: data[0]['bookmakers'][0].pop('markets')),
            'match 1: markets is missing',
        ),
        (
            'the_odds_api',
            changed(PRICED, lambda data: first_market(data)['outcomes'][0].update(name='Chelsea')),
            "'Chelsea' is no outcome of market 1x2 of pinnacle",
        ),
        (
            'the_odds_api',
            changed(PRICED, lambda data: data[0]['bookmakers'][0].update(last_update='yesterday')),
            'last_update is not a time',
        ),
        (
            'the_odds_api',
            changed(PRICED, lambda data: first_market(data)['outcomes'][0].update(price=None)),
            'price is missing',
        ),
    ],
)
def test_answer_of_another_shape(name, content, reason):
    with pytest.raises(PayloadError, match=reason):
        parse(name, content)


def test_answers_without_matches_are_empty_ones():
    for name, content in {
        'openfootball': b'{"matches": []}',
        'football_data_org': b'{"matches": []}',
        'the_odds_api': b'[]',
    }.items():
        result = parse(name, content)
        keeps_the_contract(result)
        assert (result.matches.height, result.odds.height) == (0, 0)
    without = changed(PRICED, lambda data: data[0].update(bookmakers=[]))
    assert (
        parse('the_odds_api', without).matches.height,
        parse('the_odds_api', without).odds.height,
    ) == (1, 0)


# ---- whatever comes


def accepted_or_refused(name: str, content: bytes, request: SourceRequest | None = None) -> None:
    try:
        result = SOURCES[name].parse(content, request or REQUESTS[name])
    except PayloadError:
        return
    keeps_the_contract(result)


@pytest.mark.parametrize('name', SOURCES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    content=st.binary(max_size=400)
    | st.text(max_size=200).map(str.encode)
    | st.binary(max_size=200).map(gzip.compress)
)
@example(content=b'\x00')
@example(content=b'"\r"\r')
def test_any_bytes(name, content):
    accepted_or_refused(name, content)


@pytest.mark.parametrize('name', SOURCES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_good_payload_with_a_hole(name, data):
    "Bytes taken out of, put into, or put in place of others in a good payload."
    content = GOOD[name][:2000]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    patch = data.draw(
        st.binary(max_size=6)
        | st.sampled_from([b'"', b'\r', b',', b'\n', b'null', b'[]', b'{}', b'1e999'])
    )
    accepted_or_refused(name, content[:start] + patch + content[end:])


KEYS = [
    'matches',
    'rounds',
    'score',
    'ft',
    'ht',
    'team1',
    'team2',
    'date',
    'time',
    'status',
    'message',
    'utcDate',
    'homeTeam',
    'awayTeam',
    'name',
    'id',
    'fullTime',
    'home',
    'away',
    'commence_time',
    'home_team',
    'away_team',
    'bookmakers',
    'key',
    'markets',
    'outcomes',
    'price',
    'point',
    'last_update',
]
SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=25,
)


@pytest.mark.parametrize('name', RECORDS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shape=SHAPES, where=st.integers(0, 60))
def test_any_json(name, shape, where):
    "Any JSON at all, and any JSON in place of a part of a good answer."
    accepted_or_refused(name, json.dumps(shape).encode())
    seen = 0

    def replaced(part):
        nonlocal seen
        seen += 1
        if seen == where:
            return shape
        if isinstance(part, dict):
            return {key: replaced(value) for key, value in part.items()}
        return [replaced(value) for value in part] if isinstance(part, list) else part

    accepted_or_refused(name, json.dumps(replaced(json.loads(GOOD[name]))).encode())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cells=st.lists(
        st.lists(st.text(st.characters(codec='utf-8'), max_size=5), min_size=9, max_size=9),
        max_size=4,
    )
)
def test_any_cells(cells):
    "A header that is right over cells that are anything."
    head = ['Country', 'League', 'Season', 'Date', 'Time', 'Home', 'Away', 'AHh', 'B365AHH']
    file = io.StringIO()
    csv.writer(file, lineterminator='\n').writerows([head, *cells])
    accepted_or_refused(
        'football_data_uk',
        file.getvalue().encode(),
        SourceRequest('football_data_uk', 'x', None, None, 'fixtures'),
    )
