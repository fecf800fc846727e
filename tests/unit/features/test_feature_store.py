"Features at training time are features at serving time, bit for bit, embedded and on PostgreSQL and Redis; and a store that is gone is told of."

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from football_pred.core.as_of import mask_future_results
from football_pred.core.database import open_database
from football_pred.features.build import FEATURE_NAMES, build_features
from football_pred.features.feast_store import (
    apply_definitions,
    get_historical_features,
    get_online_features,
    get_online_team_states,
    materialize_features,
    open_feature_store,
    push_features,
)
from football_pred.features.offline import (
    FEATURE_SERVICES,
    FeatureStoreConfig,
    FeatureStoreError,
    read_offline_features,
    service_schema,
    write_offline_features,
)
from football_pred.features.team_states import TEAM_STATE_SCHEMA, build_features_and_states
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.load import load_new_payloads
from football_pred.ingest.sources import SOURCES, create_source
from football_pred.markets.prices import read_match_history
from football_pred.ratings.elo_and_pi import feature_time
from tests.support.factories import two_divisions
from tests.support.services import free_port, run_postgresql, run_redis, url_of_server

AFTER_ALL = datetime(2030, 1, 1, tzinfo=UTC)
COUNTRIES = {'E0': 'England', 'E1': 'England'}
NAMES = list(FEATURE_NAMES)


@pytest.fixture(scope='module')
def made() -> pl.DataFrame:
    return two_divisions(n_teams=8, n_seasons=3)


@pytest.fixture(scope='module')
def real(shared_data, tmp_path_factory) -> pl.DataFrame:
    "The Premier League of three seasons, with shots and prices."

    class Sheets(SOURCES['football_data_uk']):
        def fetch(self, request):
            return (
                shared_data / 'football_data_uk' / f'{request.league}_{request.season}.csv'
            ).read_bytes()

    home = tmp_path_factory.mktemp('real')
    engine = open_database(f"sqlite:///{home / 'football.db'}")
    collect_payloads(
        engine, home / 'snapshots', Sheets(), ['E0'], ['2223', '2324', '2425'], lambda: AFTER_ALL
    )
    load_new_payloads(engine, home / 'snapshots', {name: create_source(name) for name in SOURCES})
    matches = read_match_history(engine, AFTER_ALL, ['E0'])
    engine.dispose()
    return matches


@pytest.fixture(params=['embedded', 'servers'])
def places(request, home) -> FeatureStoreConfig:
    "Where features are kept: in files, or in PostgreSQL and Redis."
    if request.param == 'embedded':
        return FeatureStoreConfig(home)
    url = request.getfixturevalue('postgresql').url.render_as_string(hide_password=False)
    return FeatureStoreConfig(home, url, request.getfixturevalue('redis'), url)


def filled(places, features, states, as_of=AFTER_ALL, **options):
    "An open store with these rows in it."
    write_offline_features(places, features, states)
    store = open_feature_store(places)
    apply_definitions(store)
    materialize_features(store, as_of, **options)
    return store


def bits(frame: pl.DataFrame) -> dict[str, bytes]:
    "Every column as bytes, null unlike any number."
    return {
        column.name: column.is_null().to_numpy().tobytes()
        + column.cast(pl.Float64).fill_null(-1e300).to_numpy().tobytes()
        for column in frame
    }


def compare(store, features) -> int:
    "How many matches were compared, in every feature, as they are trained on, as they are served and as they were built."
    trained = get_historical_features(store, features.select('match_id', asked_at='feature_time'))
    served = get_online_features(store, features['match_id'].to_list())
    assert (
        trained['match_id'].to_list()
        == served['match_id'].to_list()
        == features['match_id'].to_list()
    )
    assert trained.columns[2:] == served.columns[1:] == NAMES
    assert (
        trained.select(NAMES).schema == served.select(NAMES).schema == features.select(NAMES).schema
    )
    assert bits(trained.select(NAMES)) == bits(served.select(NAMES)) == bits(features.select(NAMES))
    return features.height


# ---- parity


def test_every_real_match_of_a_season(places, real):
    features, states = build_features_and_states(real, AFTER_ALL, COUNTRIES)
    season = features.filter(season='2425')
    store = filled(places, features, states, since=season['feature_time'].min())
    assert compare(store, season) == 380
    assert season.select(NAMES).equals(
        build_features(real, AFTER_ALL).filter(season='2425').select(NAMES)
    )
    assert season['home_corners_for_5'].null_count() < 60  # of clubs that come up
    assert season['market_home'].null_count() < 380
    with pytest.raises(FeatureStoreError, match='has no features in the online store'):
        get_online_features(store, features.filter(season='2223')['match_id'].head(1).to_list())


def test_every_made_match(places, made):
    features, states = build_features_and_states(made, AFTER_ALL, COUNTRIES)
    store = filled(places, features, states)
    assert compare(store, features) == made.height
    assert min(features.height - features[name].null_count() for name in NAMES) > 20
    assert max(features[name].null_count() for name in NAMES) > 20
    for service in FEATURE_SERVICES:
        some = features.sample(20, seed=1)
        assert bits(
            get_online_features(store, some['match_id'].to_list(), service).drop('match_id')
        ) == bits(some.select(*service_schema(service)))
        asked = some.select('match_id', asked_at='feature_time')
        assert bits(
            get_historical_features(store, asked, service).drop('match_id', 'asked_at')
        ) == bits(some.select(*service_schema(service)))


def test_teams_are_served_as_they_are(places, made):
    features, states = build_features_and_states(made, AFTER_ALL, COUNTRIES)
    store = filled(places, features, states)
    latest = states.group_by('team_key', maintain_order=True).last().sort('team_key')
    served = get_online_team_states(store, latest['team_key'].to_list())
    assert served.schema == latest.select('team_key', *TEAM_STATE_SCHEMA).schema
    assert bits(served.drop('team_key', 'last_date')) == bits(
        latest.select(*TEAM_STATE_SCHEMA).drop('last_date')
    )
    assert served['last_date'].to_list() == latest['last_date'].to_list()
    assert {key.split('/')[0] for key in latest['team_key']} == {'England', 'SIM'}
    assert get_online_team_states(store, []).schema == served.schema


def test_a_state_says_what_a_match_is_told(made):
    "Looked up at the feature time, the states of both teams hold every number of a match that is about one of them."
    features, states = build_features_and_states(made, AFTER_ALL, COUNTRIES)
    matches = features.join(
        made.select('match_id', 'home_team', 'away_team', 'neutral', 'date'),
        on='match_id',
        maintain_order='left',
    )
    key = pl.concat_str(
        pl.col('league').replace_strict(COUNTRIES, default=pl.col('league')),
        pl.col('team'),
        separator='/',
    )
    for side in ('home', 'away'):
        asked = (
            matches.with_columns(team=f'{side}_team')
            .with_columns(team_key=key)
            .with_row_index('row')
            .sort('feature_time')
        )
        found = asked.join_asof(
            states,
            left_on='feature_time',
            right_on='known_at',
            by='team_key',
            suffix='_now',
            check_sortedness=False,
        ).sort('row')
        pi, same = (
            [pl.col(f'{ground}_pi_now') for ground in ('home', 'away')],
            pl.col('season') == pl.col('season_now'),
        )
        found = found.with_columns(
            pi=pl.when('neutral').then((pi[0] + pi[1]) / 2).otherwise(pi[side == 'away']),
            venue_points_5=f'{side}_venue_points_5_now',
            played=pl.when(same).then('played').otherwise(0),
            rest_days=(pl.col('date') - pl.col('last_date')).dt.total_days().clip(upper_bound=14),
        )
        for name in [name.removeprefix('home_') for name in NAMES if name.startswith('home_')]:
            assert (
                found[name].cast(pl.Float64).to_list()
                == found[f'{side}_{name}'].cast(pl.Float64).to_list()
            ), name


# ---- nothing of the future


def test_a_join_leaks_nothing(places, made):
    "Every number of every later match and price is another, and what is joined up to then is the same."
    cutoff = datetime(2022, 10, 4, tzinfo=UTC)
    later, priced = pl.col('result_known_at') > cutoff, pl.col('opening_known_at') > cutoff
    numbers = [
        name
        for name in made.columns
        if name.startswith(('home_', 'away_')) and made[name].dtype.is_integer()
    ]
    scrambled = made.with_columns(
        *[
            pl.when(later)
            .then(pl.col(name) + pl.int_range(pl.len()) * i % 5 + 1)
            .otherwise(name)
            .alias(name)
            for i, name in enumerate(numbers)
        ],
        *[
            pl.when(priced)
            .then(pl.col(name) * (1 + (pl.int_range(pl.len()) * i % 4) / 10))
            .otherwise(name)
            .alias(name)
            for i, name in enumerate(('opening_home', 'opening_draw', 'opening_away'), start=1)
        ],
    )
    asked = made.filter(feature_time() <= cutoff).select('match_id', asked_at=pl.lit(cutoff))
    after = made.filter(feature_time() > cutoff).select('match_id', asked_at=feature_time())
    found = []
    for frame in (made, scrambled):
        store = filled(places, *build_features_and_states(frame, AFTER_ALL, COUNTRIES))
        found.append(
            (
                bits(get_historical_features(store, asked).select(NAMES)),
                bits(get_historical_features(store, after).select(NAMES)),
            )
        )
    assert asked.height > 100
    assert found[0][0] == found[1][0]
    assert all(
        found[0][1][name] != found[1][1][name]
        for name in NAMES
        if not name.endswith(('_rest_days', '_played'))
    )
    with pytest.raises(
        FeatureStoreError, match='has no features in the offline store at the moment asked for'
    ):
        get_historical_features(store, after.head(3).with_columns(asked_at=pl.lit(cutoff)))


def test_the_moment_is_that_of_the_data(places, made):
    "What is served at a moment is what was known then, however long ago that is."
    as_of = datetime(2022, 10, 1, 9, tzinfo=UTC)
    features, states = build_features_and_states(mask_future_results(made, as_of), as_of, COUNTRIES)
    store = filled(places, features, states, as_of)
    assert compare(store, features) == made.height
    assert features.filter(feature_time=as_of).height > 100
    everything, all_states = build_features_and_states(made, AFTER_ALL, COUNTRIES)
    write_offline_features(places, everything, all_states)
    assert (
        materialize_features(store, as_of - timedelta(days=30))[0]
        < features.filter(pl.col('feature_time') < as_of).height
    )


# ---- changes


def test_a_result_changes_what_is_served(places, made):
    before, after = datetime(2022, 10, 1, tzinfo=UTC), datetime(2022, 10, 9, tzinfo=UTC)
    features, states = build_features_and_states(made, before, COUNTRIES)
    store = filled(places, features, states, before)
    new_features, new_states = build_features_and_states(made, after, COUNTRIES)
    added = new_states.join(states, on=['team_key', 'known_at'], how='anti')
    now, then = (
        frame.select('feature_time', *NAMES).hash_rows() for frame in (new_features, features)
    )
    changed = new_features.filter(now != then)
    key = added['team_key'][0]
    old = get_online_team_states(store, [key])
    assert push_features(store, changed, added) == (changed.height, added['team_key'].n_unique())
    assert (
        get_online_team_states(store, [key])['elo'].to_list()
        == new_states.filter(team_key=key)['elo'].tail(1).to_list()
        != old['elo'].to_list()
    )
    assert compare(store, new_features) == made.height
    assert read_offline_features(places, 'teams').sort('known_at', 'team_key').equals(new_states)
    corrected = new_features.head(1).with_columns(
        home_elo=pl.lit(1234.5), market_home=pl.lit(None, pl.Float64), home_points_5=pl.lit(2.5)
    )
    push_features(store, corrected, added.head(0))
    assert compare(store, corrected) == 1


def test_writing_again_adds_nothing(places, made):
    features, states = build_features_and_states(made, AFTER_ALL, COUNTRIES)
    store = filled(places, features, states)

    def kept():
        return read_offline_features(places, 'matches').sort('match_id'), read_offline_features(
            places, 'teams'
        ).sort('team_key', 'known_at')

    def listed():
        return {
            view.name: (
                list(map(str, view.schema)),
                view.materialization_intervals,
                store.feast_store.list_feature_view_versions(view.name),
            )
            for view in store.feast_store.list_feature_views()
        }

    once, registry = kept(), listed()
    filled(places, features, states)
    push_features(store, features.head(5), states.tail(5))
    assert all(one.equals(two) for one, two in zip(once, kept(), strict=True))
    assert listed() == registry
    assert compare(open_feature_store(places), features) == features.height
    fewer = features.head(10)
    write_offline_features(places, fewer, states.head(0))
    assert (
        read_offline_features(places, 'matches').height,
        read_offline_features(places, 'teams').height,
    ) == (10, 0)


def test_many_threads_are_served_at_once(places, made):
    features, states = build_features_and_states(made, AFTER_ALL, COUNTRIES)
    store = filled(places, features, states)

    def serve(start: int):
        return bits(
            get_online_features(store, features['match_id'][start : start + 20].to_list()).drop(
                'match_id'
            )
        )

    starts = list(range(0, 400, 20))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(serve, starts))
    assert found == [bits(features[start : start + 20].select(NAMES)) for start in starts]


# ---- stores that are gone


def test_redis_gone_and_back(home, made):
    features, states = build_features_and_states(made, AFTER_ALL, COUNTRIES)
    ids, port = features['match_id'].head(2).to_list(), free_port()
    with run_redis(port) as url:
        store = filled(FeatureStoreConfig(home, online_url=url), features, states)
    for call in (
        lambda: get_online_features(store, ids),
        lambda: get_online_team_states(store, ['SIM/other 1']),
        lambda: materialize_features(store, AFTER_ALL),
    ):
        with pytest.raises(
            FeatureStoreError, match=r'cannot (read|write) the online features: ConnectionError'
        ):
            call()
    with run_redis(port):
        with pytest.raises(FeatureStoreError, match='run the job features'):
            get_online_features(store, ids)
        materialize_features(store, AFTER_ALL)
        assert bits(get_online_features(store, ids).drop('match_id')) == bits(
            features.head(2).select(NAMES)
        )


def test_postgresql_gone_and_back(home, made):
    with run_postgresql() as server:
        url = url_of_server(server)
        features, states = build_features_and_states(made.head(200), AFTER_ALL, COUNTRIES)
        places, asked = (
            FeatureStoreConfig(home, url, registry_url=url),
            features.select('match_id', asked_at='feature_time').tail(5),
        )
        store = filled(places, features, states)
        server.stop()
        ids, other = asked['match_id'].to_list(), open_feature_store(places)
        for call in (
            lambda: get_historical_features(store, asked),
            lambda: write_offline_features(places, features, states),
            lambda: apply_definitions(store),
            lambda: get_online_features(other, ids),
        ):
            with pytest.raises(FeatureStoreError, match=r'cannot .*: OperationalError'):
                call()
        assert get_online_features(store, ids).height == 5  # what was opened before serves on
        server.start()
        assert (
            bits(get_historical_features(store, asked).select(NAMES))
            == bits(get_online_features(other, ids).select(NAMES))
            == bits(features.tail(5).select(NAMES))
        )


def test_a_store_that_was_never_filled(home):
    store = open_feature_store(FeatureStoreConfig(home))
    with pytest.raises(FeatureStoreError, match='have not been defined'):
        get_online_features(store, ['one'])
    with pytest.raises(FeatureStoreError, match='cannot read the offline features'):
        materialize_features(store, AFTER_ALL)
    with pytest.raises(FeatureStoreError, match='kept in Redis'):
        open_feature_store(FeatureStoreConfig(home, online_url='http://localhost'))


def test_a_store_opened_before_it_was_filled(places, made):
    early = open_feature_store(places)
    features, states = build_features_and_states(made.head(50), AFTER_ALL, COUNTRIES)
    filled(places, features, states)
    assert compare(early, features) == 50


def test_passwords_are_not_shown(home):
    places = FeatureStoreConfig(home, 'postgresql+psycopg://writer:hush@127.0.0.1:1/football')
    assert 'hush' not in repr(places)
    with pytest.raises(FeatureStoreError) as told:
        write_offline_features(
            places,
            *(
                read.head(0)
                for read in build_features_and_states(two_divisions(4, 1), AFTER_ALL, {})
            ),
        )
    assert 'hush' not in str(told.value)
