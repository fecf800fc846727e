"Names: the file is in order, no real name is unknown, sources agree about who plays, and a person is helped with what is unknown."

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, delete, select, update

from football_pred.core import schema
from football_pred.core.database import open_database, read_frame, upsert, write_transaction
from football_pred.core.parsing import slug
from football_pred.ingest.competitions import read_packaged_csv
from football_pred.ingest.contract import SourceRequest
from football_pred.ingest.football_data_uk import FootballDataUK
from football_pred.ingest.open_sources import InternationalResults, OpenFootball
from football_pred.ingest.sources import SOURCES
from football_pred.ingest.team_names import (
    load_reference_data,
    read_alias_table,
    read_source_aliases,
    read_unresolved_names,
    resolve_team_names,
    suggest_teams,
)

FILE = pl.DataFrame(read_packaged_csv('team_aliases.csv'))
COUNTRY = {row['league']: row['country'] for row in read_packaged_csv('leagues.csv')}
PLACED = FILE.with_columns(country=pl.col('league').replace_strict(COUNTRY))
TIERS = {
    'E0': 'E1',
    'D1': 'D2',
    'SP1': 'SP2',
    'I1': 'I2',
    'F1': 'F2',
}  # the five big leagues, and what is below them
NEW_2526 = {  # clubs of the five big leagues 2025/26 that were not there the season before
    'E0': ['Burnley', 'Leeds', 'Sunderland'],
    'D1': ['FC Koln', 'Hamburg'],
    'SP1': ['Elche', 'Levante', 'Oviedo'],
    'I1': ['Cremonese', 'Pisa', 'Sassuolo'],
    'F1': ['Lorient', 'Metz', 'Paris FC'],
}
PAIR = ['league', 'season', 'home_team', 'away_team']


# ---- the file


def test_lines_are_sorted_and_each_stands_once():
    lines = FILE.rows()
    assert FILE.columns == ['source', 'league', 'alias', 'team']
    assert lines == sorted(set(lines))
    assert FILE.select('source', 'league', 'alias').is_unique().all()


def test_sources_and_leagues_exist():
    assert set(FILE['source']) <= {*SOURCES, 'airsenal', 'two_tiers'}
    assert set(FILE['league']) <= set(COUNTRY)


@pytest.mark.parametrize('column', ['alias', 'team'])
def test_names_are_tidy(column):
    assert (
        FILE.filter(
            pl.col(column).str.strip_chars().str.replace_all(r'\s+', ' ') != pl.col(column)
        ).rows()
        == []
    )


def test_a_spelling_names_one_club_of_a_country_in_any_case():
    meant = PLACED.group_by('country', pl.col('alias').str.to_lowercase()).agg(
        pl.col('team').unique()
    )
    assert meant.filter(pl.col('team').list.len() > 1).rows() == []


def test_no_spelling_is_the_name_of_another_club_of_the_country():
    names = PLACED.select('country', name='team').unique()
    other = PLACED.join(
        names,
        left_on=['country', pl.col('alias').str.to_lowercase()],
        right_on=['country', pl.col('name').str.to_lowercase()],
    )
    assert other.filter(pl.col('team') != pl.col('name')).rows() == []


def test_a_club_has_its_name_in_every_league_of_its_country():
    named = FILE.filter(
        pl.col('alias') == pl.col('team'),
        pl.col('source').is_in(['football_data_uk', 'internationals']),
    ).select('league', 'team')
    leagues = pl.DataFrame({'country': COUNTRY.values(), 'league': COUNTRY.keys()})
    wanted = (
        PLACED.select('country', 'team')
        .unique()
        .join(leagues, on='country')
        .select('league', 'team')
    )
    assert wanted.join(named, on=['league', 'team'], how='anti').rows() == []


def test_ids_of_clubs_differ():
    clubs = PLACED.select('country', 'team').unique()
    assert len({(country, slug(team)) for country, team in clubs.iter_rows()}) == clubs.height


# ---- real data


@pytest.fixture(scope='module')
def names() -> Engine:
    engine = open_database('sqlite://')
    with write_transaction(engine) as connection:
        load_reference_data(connection)
    return engine


def resolved(names: Engine, source: str, raw: pl.DataFrame) -> pl.DataFrame:
    "The rows with clubs by their one name; a name that is not known fails."
    parts, lost = [], set()
    for (league,), part in raw.group_by('league', maintain_order=True):
        aliases = read_source_aliases(names, source, league)
        lost |= {
            (league, name) for name in {*part['home_team'], *part['away_team']} - aliases.keys()
        }
        parts.append(
            part.with_columns(
                resolve_team_names(part[side], aliases).alias(side)
                for side in ('home_team', 'away_team')
            )
        )
    assert sorted(lost) == []
    return pl.concat(parts)


@pytest.fixture(scope='module')
def uk(names, shared_data) -> pl.DataFrame:
    parts = []
    for path in sorted((shared_data / 'football_data_uk').glob('*_*.csv')):
        league, season = path.stem.split('_')
        parts.append(
            FootballDataUK()
            .parse(path.read_bytes(), SourceRequest('football_data_uk', '', league, season))
            .matches
        )
    return resolved(names, 'football_data_uk', pl.concat(parts))


@pytest.fixture(scope='module')
def two_tiers(names, shared_data) -> pl.DataFrame:
    raw = pl.read_parquet(shared_data / 'two_tiers_1993_2025.parquet')
    return resolved(
        names,
        'two_tiers',
        raw.select(
            'league',
            season=pl.concat_str(
                pl.col('season').str.slice(2, 2), pl.col('season').str.slice(5, 2)
            ),
            date=pl.col('date').dt.strftime('%Y-%m-%d'),
            home_team='home',
            away_team='away',
            home_goals=pl.col('fthg').cast(pl.String),
            away_goals=pl.col('ftag').cast(pl.String),
        ),
    )


@pytest.fixture(scope='module')
def openfootball(names, shared_data) -> pl.DataFrame:
    leagues = {'en.1': 'E0', 'de.1': 'D1', 'es.1': 'SP1', 'it.1': 'I1', 'fr.1': 'F1'}
    parts = []
    for path in sorted((shared_data / 'openfootball').glob('*/*.json')):
        request = SourceRequest(
            'openfootball', '', leagues[path.stem], path.parent.name[2:4] + path.parent.name[5:7]
        )
        parts.append(OpenFootball().parse(path.read_bytes(), request).matches)
    return resolved(names, 'openfootball', pl.concat(parts))


def test_every_coming_match_has_known_teams(names, shared_data):
    content = (shared_data / 'football_data_uk/fixtures.csv').read_bytes()
    raw = (
        FootballDataUK()
        .parse(content, SourceRequest('football_data_uk', '', None, None, 'fixtures'))
        .matches
    )
    assert resolved(names, 'football_data_uk', raw).height == raw.height > 0


def test_every_national_team_is_known(names, shared_data):
    raw = (
        InternationalResults()
        .parse(
            (shared_data / 'internationals/results.csv.gz').read_bytes(),
            SourceRequest('internationals', '', 'INT', None),
        )
        .matches
    )
    assert resolved(names, 'internationals', raw.with_columns(league=pl.lit('INT'))).height > 49_000


@pytest.fixture(params=['uk', 'two_tiers', 'openfootball'])
def collection(request) -> pl.DataFrame:
    return request.getfixturevalue(request.param)


def test_no_club_plays_itself_or_twice_on_a_day(collection):
    country = pl.col('league').replace_strict(COUNTRY)
    played = pl.concat(
        [collection.select('date', country, team=side) for side in ('home_team', 'away_team')]
    )
    assert collection.filter(pl.col('home_team') == pl.col('away_team')).rows() == []
    assert played.filter(pl.struct(played.columns).is_duplicated()).rows() == []


def test_a_pair_meets_once_a_season_at_each_ground(collection):
    "Two clubs under one name would meet the others twice."
    assert collection.filter(pl.struct(PAIR).is_duplicated()).select(*PAIR, 'date').rows() == []


def test_a_club_is_in_one_league_a_season(collection):
    "One club under two names, or two clubs under one, would show here."
    country = pl.col('league').replace_strict(COUNTRY)
    clubs = pl.concat(
        [
            collection.select('season', country.alias('country'), 'league', team=side)
            for side in ('home_team', 'away_team')
        ]
    ).unique()
    assert clubs.filter(pl.struct('season', 'country', 'team').is_duplicated()).rows() == []


@pytest.mark.parametrize('side', ['home_team', 'away_team'])
def test_two_spellings_that_are_one_club_are_never_there_in_one_season(
    two_tiers, shared_data, side
):
    "Before names are resolved: the spellings that the file brings together."
    raw = (
        pl.read_parquet(shared_data / 'two_tiers_1993_2025.parquet')
        .select('league', 'season', alias=side.removesuffix('_team'))
        .unique()
    )
    lines = FILE.filter(source='two_tiers')
    assert lines.select(pl.col('alias').is_in(raw['alias'].implode())).to_series().all()
    both = raw.join(lines, on=['league', 'alias']).join(
        raw, left_on=['league', 'season', 'team'], right_on=['league', 'season', 'alias']
    )
    assert both.rows() == []


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        ('RB Leipzig', 'Leipzig'),
        ('FC Koln', 'F Koln'),
        ('Stuttgart', 'Stuttgarter K'),
        ('Reggiana', 'Reggina'),
        ('Lecce', 'Lecco'),
        ('Las Palmas', 'U.Las Palmas'),
        ('Extremadura', 'Extremadura UD'),
        ('Granada', 'Granada 74'),
        ('Murcia', 'Ciudad de Murcia'),
        ('Ath Madrid', 'Ath Bilbao'),
        ('Ajaccio', 'Ajaccio GFCO'),
        ('Bastia', 'CA Bastia'),
        ('Paris FC', 'Paris SG'),
        ('Rouen', 'Quevilly Rouen'),
        ('Wimbledon', 'Milton Keynes Dons'),
        ('Wimbledon', 'AFC Wimbledon'),
        ('Virtus Entella', 'Virtus Lanciano'),
    ],
)
def test_clubs_with_like_names_are_two(one, other):
    clubs = (
        PLACED.filter(pl.col('team').is_in([one, other]))
        .group_by('team')
        .agg(pl.col('alias').unique())
    )
    assert set(clubs['team']) == {one, other}
    assert not set.intersection(*map(set, clubs['alias']))


def one_to_one(left: pl.DataFrame, right: pl.DataFrame) -> list[tuple]:
    "Matches of one collection that the other has not, by date, teams and score."
    on = [*PAIR, 'date', 'home_goals', 'away_goals']
    return [
        *left.join(right, on=on, how='anti').select(on).rows(),
        *right.join(left, on=on, how='anti').select(on).rows(),
    ]


def test_football_data_and_two_tiers_have_the_same_matches(uk, two_tiers):
    recent = two_tiers.filter(pl.col('season').is_in(uk['season'].unique().implode()))
    assert uk.height == 19_307
    assert one_to_one(uk, recent) == []


def test_football_data_and_openfootball_have_the_same_matches(uk, openfootball):
    ours = uk.join(openfootball.select('league', 'season').unique(), on=['league', 'season'])
    theirs = openfootball.join(uk.select('league', 'season').unique(), on=['league', 'season'])
    assert ours.height == theirs.height == 3_504
    on = ['league', 'season', 'home_team', 'away_team']
    assert (
        ours.join(theirs, on=on, how='anti').rows()
        == theirs.join(ours, on=on, how='anti').rows()
        == []
    )


def test_the_big_five_have_a_name_at_football_data_org(names, uk):
    "All their clubs from 2020/21 to 2025/26, and what openfootball calls them means the same there."
    for league in TIERS:
        theirs = FILE.filter(source='football_data_org', league=league)
        clubs = {*uk.filter(league=league)['home_team'], *NEW_2526[league]}
        assert clubs - set(theirs['team']) == set()
        told = dict(
            FILE.filter(source='openfootball', league=league).select('alias', 'team').iter_rows()
        )
        org = read_source_aliases(names, 'football_data_org', league)
        assert {alias: org.get(alias) for alias in told} == told


# ---- the tables


def test_what_the_file_says_is_written_once(engine):
    with write_transaction(engine) as connection:
        assert load_reference_data(connection) > FILE.height
        assert load_reference_data(connection) == 0
    table = schema.team_aliases
    with write_transaction(engine) as connection:
        connection.execute(update(table).where(table.c.alias == 'Spurs').values(team='Arsenal'))
        connection.execute(
            delete(table).where(table.c.alias == 'Wolves', table.c.source == 'airsenal')
        )
        upsert(
            connection,
            table,
            [dict(source='openfootball', league='E0', alias='The Gunners', team='Arsenal')],
        )
        assert load_reference_data(connection) == 2
    assert read_source_aliases(engine, 'airsenal', 'E0')['Spurs'] == 'Tottenham'
    assert read_source_aliases(engine, 'openfootball', 'E0')['The Gunners'] == 'Arsenal'


# ---- what nobody knows


def reject(
    engine: Engine,
    *pairs: tuple[str | None, str],
    league: str | None = 'E0',
    reason: str = 'unknown team: X',
) -> None:
    "Rows put aside, of one snapshot; without a league of the snapshot they say 'D1' themselves."
    with write_transaction(engine) as connection:
        snapshot_id = str(read_frame(connection, select(schema.snapshots)).height)
        upsert(
            connection,
            schema.snapshots,
            [
                dict(
                    snapshot_id=snapshot_id,
                    source='openfootball',
                    url='u',
                    kind='results',
                    league=league,
                    season='2526',
                    sha256='',
                    bytes=0,
                    fetched_at=datetime(2026, 4, 4, tzinfo=UTC),
                    path='',
                    sequence=int(snapshot_id),
                    rows=len(pairs),
                )
            ],
        )
        rows = [
            {'home_team': home, 'away_team': away, 'league': 'D1' if league is None else None}
            for home, away in pairs
        ]
        upsert(
            connection,
            schema.rejects,
            [
                dict(
                    snapshot_id=snapshot_id,
                    row_number=number,
                    reason=reason,
                    kind='row',
                    row={name: value for name, value in row.items() if value is not None},
                )
                for number, row in enumerate(rows, 1)
            ],
        )


@pytest.fixture
def loaded(engine: Engine) -> Engine:
    with write_transaction(engine) as connection:
        load_reference_data(connection)
    return engine


def test_unknown_names_are_counted_on_both_sides(loaded):
    reject(
        loaded,
        ('Arsenale', 'Everton'),
        ('Chelsea', ' Arsenale'),
        ('Evertone', 'Arsenale'),
        (None, 'Chelsea'),
    )
    reject(loaded, ('Bayern', 'Arsenale'), league=None)
    reject(loaded, ('Nobody', 'Arsenal'), reason='date is not a date: ?')
    assert read_unresolved_names(loaded).drop('source').rows() == [
        ('E0', 'Arsenale', 3),
        ('D1', 'Arsenale', 1),
        ('D1', 'Bayern', 1),
        ('E0', 'Evertone', 1),
    ]


def test_a_name_that_has_a_line_by_now_is_not_listed(loaded):
    reject(loaded, ('Arsenale', 'Everton'))
    with write_transaction(loaded) as connection:
        upsert(
            connection,
            schema.team_aliases,
            [dict(source='openfootball', league='E0', alias='Arsenale', team='Arsenal')],
        )
    assert read_unresolved_names(loaded).rows() == []


def test_no_rejects_are_no_names(loaded):
    lost = read_unresolved_names(loaded)
    assert (lost.rows(), suggest_teams(lost, read_alias_table(loaded)).rows()) == ([], [])


@pytest.mark.parametrize(
    ('league', 'name', 'team'),
    [
        ('E0', 'Tottenham Hotspurs', 'Tottenham'),
        ('E0', 'MANCHESTER UTD', 'Man United'),
        ('D1', 'Bayern Muenchen', 'Bayern Munich'),
        ('D1', '1.FC Koeln', 'FC Koln'),
        ('SP1', 'At. Madrid', 'Ath Madrid'),
        ('F1', 'St. Etienne', 'St Etienne'),
        ('I1', 'Internazionale', 'Inter'),
    ],
)
def test_a_near_name_is_suggested(loaded, league, name, team):
    lines = suggest_teams(
        pl.DataFrame({'source': ['openfootball'], 'league': [league], 'name': [name]}),
        read_alias_table(loaded),
        max_per_name=3,
    )
    assert lines['team'][0] == team
    assert lines['team'].n_unique() == lines.height == 3
    assert lines['score'].is_sorted(descending=True)
    assert lines.columns == [*FILE.columns, 'score']


def test_a_league_without_clubs_has_no_suggestion(loaded):
    assert (
        suggest_teams(
            pl.DataFrame({'source': ['openfootball'], 'league': ['BRA'], 'name': ['Santos FC']}),
            read_alias_table(loaded),
        ).rows()
        == []
    )


def names_command(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            '-c',
            'from football_pred.cli import main; main()',
            'names',
            *arguments,
        ],
        text=True,
        capture_output=True,
        env=os.environ | {'FOOTBALL_HOME': str(home)},
    )


def test_the_command_lists_names_and_lines_and_writes_only_where_it_is_told(tmp_path, home):
    from football_pred.core.settings import Settings

    nothing = names_command(home)
    assert (nothing.returncode, nothing.stdout.strip()) == (0, 'every name is known')
    engine = open_database(Settings(home=home).database_dsn)
    with write_transaction(engine) as connection:
        load_reference_data(connection)
    reject(
        engine,
        ('Tottenham Hotspurs', 'Everton'),
        ('Chelsea', 'Tottenham Hotspurs'),
        ('Santos, FC', 'Chelsea'),
    )
    before = read_packaged_csv('team_aliases.csv')
    told = names_command(home, '--write', str(tmp_path / 'lines.csv'))
    assert told.returncode == 0, told.stderr
    assert 'openfootball,E0,Tottenham Hotspurs,Tottenham\n' in told.stdout
    written = pl.read_csv(tmp_path / 'lines.csv')
    assert written.rows()[0][:4] == ('openfootball', 'E0', 'Tottenham Hotspurs', 'Tottenham')
    assert (set(written['alias']), read_packaged_csv('team_aliases.csv')) == (
        {'Tottenham Hotspurs', 'Santos, FC'},
        before,
    )
