"Training and serving features are equal, bit for bit, embedded and on servers; outages."

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
    materialize_features,
    open_feature_store,
    push_features,
)
from football_pred.features.offline import (
    FeatureStoreConfig,
    FeatureStoreError,
    read_offline_features,
    write_offline_features,
)
from football_pred.features.team_states import build_features_and_states
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
def factory_matches() -> pl.DataFrame:
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
def store_config(request, home) -> FeatureStoreConfig:
    "Feature store in files, or in PostgreSQL and Redis."
    if request.param == 'embedded':
        return FeatureStoreConfig(home)
    url = request.getfixturevalue('postgresql').url.render_as_string(hide_password=False)
    return FeatureStoreConfig(home, url, request.getfixturevalue('redis'), url)


def fill_store(store_config, features, states, as_of=AFTER_ALL, **options):
    "An open store with these rows in it."
    write_offline_features(store_config, features, states)
    store = open_feature_store(store_config)
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
    "Number of matches whose training, serving and computed features were compared."
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


def test_every_real_match_of_a_season(store_config, real):
    features, states = build_features_and_states(real, AFTER_ALL, COUNTRIES)
    season = features.filter(season='2425')
    store = fill_store(store_config, features, states, since=season['feature_time'].min())
    assert compare(store, season) == 380
    assert season.select(NAMES).equals(
        build_features(real, AFTER_ALL).filter(season='2425').select(NAMES)
    )
    assert season['home_corners_for_5'].null_count() < 60  # of clubs that come up
    assert season['market_home'].null_count() < 380
    with pytest.raises(FeatureStoreError, match='has no features in the online store'):
        get_online_features(store, features.filter(season='2223')['match_id'].head(1).to_list())


def test_every_match_of_the_factory(store_config, factory_matches):
    features, states = build_features_and_states(factory_matches, AFTER_ALL, COUNTRIES)
    store = fill_store(store_config, features, states)
    assert compare(store, features) == factory_matches.height
    assert min(features.height - features[name].null_count() for name in NAMES) > 20
    assert max(features[name].null_count() for name in NAMES) > 20


def test_states_equal_the_features_of_a_match(factory_matches):
    "At the feature time, the states of both teams hold every feature of one team."
    features, states = build_features_and_states(factory_matches, AFTER_ALL, COUNTRIES)
    matches = features.join(
        factory_matches.select('match_id', 'home_team', 'away_team', 'neutral', 'date'),
        on='match_id',
        maintain_order='left',
    )
    key = pl.concat_str(
        pl.col('league').replace_strict(COUNTRIES, default=pl.col('league')),
        pl.col('team'),
        separator='/',
    )
    for side in ('home', 'away'):
        entities = (
            matches.with_columns(team=f'{side}_team')
            .with_columns(team_key=key)
            .with_row_index('row')
            .sort('feature_time')
        )
        joined = entities.join_asof(
            states,
            left_on='feature_time',
            right_on='known_at',
            by='team_key',
            suffix='_now',
            check_sortedness=False,
        ).sort('row')
        pi = [pl.col(f'{ground}_pi_now') for ground in ('home', 'away')]
        same = pl.col('season') == pl.col('season_now')
        joined = joined.with_columns(
            pi=pl.when('neutral').then((pi[0] + pi[1]) / 2).otherwise(pi[side == 'away']),
            venue_points_5=f'{side}_venue_points_5_now',
            played=pl.when(same).then('played').otherwise(0),
            rest_days=(pl.col('date') - pl.col('last_date')).dt.total_days().clip(upper_bound=14),
        )
        for name in [name.removeprefix('home_') for name in NAMES if name.startswith('home_')]:
            assert (
                joined[name].cast(pl.Float64).to_list()
                == joined[f'{side}_{name}'].cast(pl.Float64).to_list()
            ), name


# ---- no leakage


def test_a_join_leaks_nothing(store_config, factory_matches):
    "Other later results and prices change no earlier features."
    cutoff = datetime(2022, 10, 4, tzinfo=UTC)
    later = pl.col('result_known_at') > cutoff
    priced = pl.col('opening_known_at') > cutoff
    numbers = [
        name
        for name in factory_matches.columns
        if name.startswith(('home_', 'away_')) and factory_matches[name].dtype.is_integer()
    ]
    scrambled = factory_matches.with_columns(
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
    entities = factory_matches.filter(feature_time() <= cutoff).select(
        'match_id', asked_at=pl.lit(cutoff)
    )
    after = factory_matches.filter(feature_time() > cutoff).select(
        'match_id', asked_at=feature_time()
    )
    joined = []
    for frame in (factory_matches, scrambled):
        store = fill_store(store_config, *build_features_and_states(frame, AFTER_ALL, COUNTRIES))
        joined.append(
            (
                bits(get_historical_features(store, entities).select(NAMES)),
                bits(get_historical_features(store, after).select(NAMES)),
            )
        )
    assert entities.height > 100
    assert joined[0][0] == joined[1][0]
    assert all(
        joined[0][1][name] != joined[1][1][name]
        for name in NAMES
        if not name.endswith(('_rest_days', '_played'))
    )
    with pytest.raises(
        FeatureStoreError, match='has no features in the offline store as of its asked_at'
    ):
        get_historical_features(store, after.head(3).with_columns(asked_at=pl.lit(cutoff)))


def test_materialized_features_are_as_of_the_data(store_config, factory_matches):
    "Served features are those known at `as_of`, however long ago that is."
    as_of = datetime(2022, 10, 1, 9, tzinfo=UTC)
    features, states = build_features_and_states(
        mask_future_results(factory_matches, as_of), as_of, COUNTRIES
    )
    store = fill_store(store_config, features, states, as_of)
    assert compare(store, features) == factory_matches.height
    assert features.filter(feature_time=as_of).height > 100
    everything, all_states = build_features_and_states(factory_matches, AFTER_ALL, COUNTRIES)
    write_offline_features(store_config, everything, all_states)
    assert (
        materialize_features(store, as_of - timedelta(days=30))[0]
        < features.filter(pl.col('feature_time') < as_of).height
    )


# ---- changes


def test_a_result_changes_the_served_features(store_config, factory_matches):
    before = datetime(2022, 10, 1, tzinfo=UTC)
    after = datetime(2022, 10, 9, tzinfo=UTC)
    features, states = build_features_and_states(factory_matches, before, COUNTRIES)
    store = fill_store(store_config, features, states, before)
    new_features, new_states = build_features_and_states(factory_matches, after, COUNTRIES)
    added = new_states.join(states, on=['team_key', 'known_at'], how='anti')
    now, then = (
        frame.select('feature_time', *NAMES).hash_rows() for frame in (new_features, features)
    )
    changed = new_features.filter(now != then)
    assert push_features(store, changed, added) == (changed.height, added['team_key'].n_unique())
    assert compare(store, new_features) == factory_matches.height
    assert (
        read_offline_features(store_config, 'teams').sort('known_at', 'team_key').equals(new_states)
    )
    corrected = new_features.head(1).with_columns(
        home_elo=pl.lit(1234.5), market_home=pl.lit(None, pl.Float64), home_points_5=pl.lit(2.5)
    )
    push_features(store, corrected, added.head(0))
    assert compare(store, corrected) == 1


def test_writing_again_adds_nothing(store_config, factory_matches):
    features, states = build_features_and_states(factory_matches, AFTER_ALL, COUNTRIES)
    store = fill_store(store_config, features, states)

    def read_stored():
        return read_offline_features(store_config, 'matches').sort(
            'match_id'
        ), read_offline_features(store_config, 'teams').sort('team_key', 'known_at')

    def listed():
        return {
            view.name: (
                list(map(str, view.schema)),
                view.materialization_intervals,
                store.feast_store.list_feature_view_versions(view.name),
            )
            for view in store.feast_store.list_feature_views()
        }

    once, registry = read_stored(), listed()
    fill_store(store_config, features, states)
    push_features(store, features.head(5), states.tail(5))
    assert all(first.equals(second) for first, second in zip(once, read_stored(), strict=True))
    assert listed() == registry
    assert compare(open_feature_store(store_config), features) == features.height
    fewer = features.head(10)
    write_offline_features(store_config, fewer, states.head(0))
    assert (
        read_offline_features(store_config, 'matches').height,
        read_offline_features(store_config, 'teams').height,
    ) == (10, 0)


def test_many_threads_are_served_at_once(store_config, factory_matches):
    features, states = build_features_and_states(factory_matches, AFTER_ALL, COUNTRIES)
    store = fill_store(store_config, features, states)

    def serve(start: int):
        return bits(
            get_online_features(store, features['match_id'][start : start + 20].to_list()).drop(
                'match_id'
            )
        )

    starts = list(range(0, 400, 20))
    with ThreadPoolExecutor(8) as pool:
        joined = list(pool.map(serve, starts))
    assert joined == [bits(features[start : start + 20].select(NAMES)) for start in starts]


# ---- outages


def test_redis_gone_and_back(home, factory_matches):
    features, states = build_features_and_states(factory_matches, AFTER_ALL, COUNTRIES)
    ids = features['match_id'].head(2).to_list()
    port = free_port()
    with run_redis(port) as url:
        store = fill_store(FeatureStoreConfig(home, online_url=url), features, states)
    for call in (
        lambda: get_online_features(store, ids),
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


def test_postgresql_gone_and_back(home, factory_matches):
    with run_postgresql() as server:
        url = url_of_server(server)
        features, states = build_features_and_states(
            factory_matches.head(200), AFTER_ALL, COUNTRIES
        )
        store_config = FeatureStoreConfig(home, url, registry_url=url)
        entities = features.select('match_id', asked_at='feature_time').tail(5)
        store = fill_store(store_config, features, states)
        server.stop()
        ids = entities['match_id'].to_list()
        other = open_feature_store(store_config)
        for call in (
            lambda: get_historical_features(store, entities),
            lambda: write_offline_features(store_config, features, states),
            lambda: apply_definitions(store),
            lambda: get_online_features(other, ids),
        ):
            with pytest.raises(FeatureStoreError, match=r'cannot .*: OperationalError'):
                call()
        assert get_online_features(store, ids).height == 5  # what was opened before serves on
        server.start()
        assert (
            bits(get_historical_features(store, entities).select(NAMES))
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


def test_a_store_opened_before_it_was_filled(store_config, factory_matches):
    early = open_feature_store(store_config)
    features, states = build_features_and_states(factory_matches.head(50), AFTER_ALL, COUNTRIES)
    fill_store(store_config, features, states)
    assert compare(early, features) == 50


def test_passwords_are_not_shown(home):
    store_config = FeatureStoreConfig(home, 'postgresql+psycopg://writer:hush@127.0.0.1:1/football')
    assert 'hush' not in repr(store_config)
    with pytest.raises(FeatureStoreError) as error:
        write_offline_features(
            store_config,
            *(
                read.head(0)
                for read in build_features_and_states(two_divisions(4, 1), AFTER_ALL, {})
            ),
        )
    assert 'hush' not in str(error.value)
