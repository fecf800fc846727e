"Models after the newest results: the same as if they had been trained on them, but for the weights, and never of a later one."

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine, delete, update

from football_pred.core import schema
from football_pred.core.as_of import frame_fingerprint
from football_pred.core.database import upsert, write_transaction
from football_pred.core.ledger_log import HeadFile
from football_pred.core.outbox import emit_event
from football_pred.forecasts.snapshot import (
    build_snapshot,
    forecast_matches,
    read_snapshot,
    store_forecasts,
)
from football_pred.markets.prices import read_match_history
from football_pred.models.base import clone
from football_pred.registry.registry import ModelVersion
from football_pred.registry.result_updates import (
    ResultUpdates,
    is_as_trained,
    read_known_results,
)
from tests.support.factories import MODELS, two_divisions

MATCHES = two_divisions()
ROUND = MATCHES.filter(league='E0').tail(8)  # the last two rounds of E0
TRAINED = ROUND['kickoff'][0] - timedelta(hours=1)
LATER = MATCHES['result_known_at'].max() + timedelta(days=1)
WEIGHTS = {  # what is learned by training alone
    'stages_',
    'coefficients_',
    'trees_',
    'thresholds_',
    'width_',
}


def learning_matches(model, matches):
    "Matches that a model learns from: whole countries, or one league."
    finished = matches.filter(status='finished')
    return finished if hasattr(model, 'predict_walk_forward') else finished.filter(league='E0')


def known_by(matches, as_of):
    return matches.filter(pl.col('result_known_at') <= as_of)


FIXTURES = ROUND.select('league', 'season', 'home_team', 'away_team', 'neutral', 'kickoff')


@pytest.mark.parametrize('name', MODELS)
def test_an_update_is_a_training_but_for_the_weights(name):
    matches = learning_matches(MODELS[name], MATCHES)
    early = clone(MODELS[name]).fit(known_by(matches, TRAINED), as_of=TRAINED)
    before = early.to_data()
    updated = early.update(matches, LATER)
    assert early.to_data() == before
    trained = clone(MODELS[name]).fit(matches, as_of=LATER)
    for attribute in trained.fitted_attributes:
        values = getattr(updated, attribute)
        expected = getattr(early if attribute in WEIGHTS else trained, attribute)
        if isinstance(values, np.ndarray):
            np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9, err_msg=attribute)
        else:
            assert str(values) == str(expected), attribute
    moved = np.abs(updated.predict_proba(FIXTURES) - early.predict_proba(FIXTURES)).max()
    assert moved > 1e-5
    assert type(updated).from_data(updated.to_data()).to_data() == updated.to_data()


@pytest.mark.parametrize('name', MODELS)
def test_results_after_a_moment_change_nothing(name):
    "Later scores are scrambled, then left out: forecasts are the same to the last bit."
    matches = learning_matches(MODELS[name], MATCHES)
    early = clone(MODELS[name]).fit(known_by(matches, TRAINED), as_of=TRAINED)
    between = ROUND['result_known_at'][3]
    is_later = pl.col('result_known_at') > between
    swapped = {'home_goals': 'away_goals', 'away_goals': 'home_goals'}
    scrambled = matches.with_columns(
        pl.when(is_later).then(pl.col(other) + 3).otherwise(name).alias(name)
        for name, other in swapped.items()
    )
    forecasts = [
        early.update(known_by(frame, between), between).predict_proba(FIXTURES)
        for frame in (matches, scrambled)
    ]
    assert (forecasts[0] == forecasts[1]).all()


# In the database


@pytest.fixture
def stored(engine: Engine) -> Engine:
    leagues = [
        dict(league=code, name=code, country=country, tier=tier, time_zone='UTC', teams=8)
        for code, country, tier in (('E0', 'England', 1), ('E1', 'England', 2), ('SIM', 'X', 1))
    ]
    payload = dict(
        snapshot_id='s1',
        source='sample',
        url='sample:',
        kind='matches',
        sha256='0' * 64,
        bytes=0,
        fetched_at=TRAINED,
        path='',
        sequence=1,
        rows=0,
    )
    with write_transaction(engine) as connection:
        upsert(connection, schema.leagues, leagues)
        upsert(connection, schema.snapshots, [payload])
    store(engine, MATCHES)
    return engine


def store(engine: Engine, matches: pl.DataFrame) -> None:
    names = set(matches.columns) & set(schema.matches.columns.keys())
    rows = matches.select(names).with_columns(source=pl.lit('sample'), snapshot_id=pl.lit('s1'))
    with write_transaction(engine) as connection:
        upsert(connection, schema.matches, rows)


def trained_version(engine: Engine, name: str = 'DixonColes') -> ModelVersion:
    leagues = ['E0', 'E1', 'SIM'] if hasattr(MODELS[name], 'predict_walk_forward') else ['E0']
    history = read_match_history(engine, TRAINED, leagues)
    history = history.filter(pl.col('league').is_in(leagues))
    finished = history.filter(status='finished')
    trained_on = {
        'as_of': TRAINED.isoformat(),
        'matches': finished.height,
        'last_kickoff': finished['kickoff'].max().isoformat(),
        'data_fingerprint': frame_fingerprint(history),
    }
    model = clone(MODELS[name]).fit(finished, as_of=TRAINED)
    return ModelVersion(f'E0-{name}', 'f' * 16, model, trained_on, 'copy', '1')


@pytest.mark.parametrize('name', ['DixonColes', 'goals_only', 'MultinomialLogit'])
def test_results_move_what_is_sealed(stored, tmp_path, name):
    "Between two rounds the fixtures of the second get new forecasts, with the moment of the last result."
    version = trained_version(stored, name)
    heads = HeadFile(tmp_path / 'heads.jsonl')
    updates = ResultUpdates(stored)
    second_round = ROUND['match_id'].to_list()[4:]
    sealed = []
    for as_of in (TRAINED, ROUND['result_known_at'][3], ROUND['result_known_at'][3]):
        models = {'E0': updates.update('E0', version, as_of)}
        snapshot = read_snapshot(stored, models, as_of)
        forecasts = forecast_matches(snapshot, second_round)
        added = store_forecasts(stored, heads, snapshot, forecasts, {}, 'test').added
        sealed.append((added, forecasts['as_of'].unique().to_list(), forecasts['p_home']))
    assert [added for added, _, _ in sealed] == [4, 4, 0]
    assert sealed[0][1] == [TRAINED]
    assert sealed[1][1] == [known_by(MATCHES, ROUND['result_known_at'][3])['result_known_at'].max()]
    assert (sealed[0][2] - sealed[1][2]).abs().max() > 1e-4
    with stored.connect() as connection:
        rows = connection.execute(schema.predictions.select()).all()
    assert {row.model_version for row in rows} == {'f' * 16}
    assert len({row.data_fingerprint for row in rows}) == 2


def test_what_was_trained_on_is_not_learned_again(stored):
    version = trained_version(stored)
    updates = ResultUpdates(stored)
    assert updates.update('E0', version, TRAINED).model is version.model
    assert updates.update('E0', version, TRAINED - timedelta(days=3)).model is version.model
    once = updates.update('E0', version, LATER)
    assert once.model is not version.model
    assert updates.update('E0', version, LATER + timedelta(days=1)).model is once.model
    assert once.results['matches'] == MATCHES.filter(league='E0').height
    other = trained_version(stored)
    other = ModelVersion(other.name, 'e' * 16, other.model, other.trained_on, 'copy', '2')
    assert updates.update('E0', other, LATER).version == other.version


def tell(engine: Engine, match_id: str, at) -> None:
    with write_transaction(engine) as connection:
        emit_event(connection, 'results', match_id, {'version': 1, 'at': at.isoformat()}, at)


def test_a_result_told_again_moves_nothing(stored):
    version = trained_version(stored)
    told_at = TRAINED + timedelta(seconds=30)
    tell(stored, MATCHES.filter(league='E0')['match_id'][0], told_at)
    known = read_known_results(stored, ('E0',), told_at)
    assert known.last == told_at
    assert is_as_trained(stored, version, known)


@pytest.mark.parametrize('kind', ['late', 'corrected', 'annulled'])
def test_a_result_of_before_the_training_moves_forecasts_from_when_it_was_told(stored, kind):
    old = MATCHES.filter(league='E0').row(-20, named=True)
    table = schema.matches
    if kind == 'late':  # it came after the training
        with write_transaction(stored) as connection:
            connection.execute(delete(table).where(table.c.match_id == old['match_id']))
    version = trained_version(stored)
    told_at = TRAINED + timedelta(minutes=30)
    if kind == 'late':
        store(stored, MATCHES.filter(match_id=old['match_id']))
        tell(stored, old['match_id'], told_at)
    elif kind == 'corrected':
        with write_transaction(stored) as connection:
            statement = update(table).where(table.c.match_id == old['match_id'])
            connection.execute(statement.values(home_goals=old['home_goals'] + 4))
        tell(stored, old['match_id'], told_at)
    else:
        change = dict(
            match_id=old['match_id'],
            snapshot_id='s1',
            field='status',
            before='finished',
            after='cancelled',
            changed_at=told_at,
        )
        nothing = dict.fromkeys(('home_goals', 'away_goals', 'result_known_at'))
        with write_transaction(stored) as connection:
            statement = update(table).where(table.c.match_id == old['match_id'])
            connection.execute(statement.values(status='cancelled', **nothing))
            connection.execute(schema.fixture_changes.insert().values(change))
    updates = ResultUpdates(stored)
    assert updates.update('E0', version, TRAINED).model is version.model
    updated = updates.update('E0', version, told_at)
    assert updated.results['as_of'] == told_at.isoformat()
    is_before_kickoff = told_at < ROUND['kickoff'][0]
    assert is_before_kickoff
    change = updated.model.predict_proba(FIXTURES) - version.model.predict_proba(FIXTURES)
    assert np.abs(change).max() > 1e-5


def test_the_order_in_which_results_are_told_does_not_matter(stored):
    version = trained_version(stored, 'goals_only')
    at_once = ResultUpdates(stored).update('E0', version, LATER)
    one_by_one = ResultUpdates(stored)
    table = schema.matches
    ids = ROUND['match_id'].to_list()
    with write_transaction(stored) as connection:
        connection.execute(delete(table).where(table.c.match_id.in_(ids)))
    for match_id in reversed(ids):
        store(stored, MATCHES.filter(match_id=match_id))
        last = one_by_one.update('E0', version, LATER)
    assert last.results['data_fingerprint'] == at_once.results['data_fingerprint']
    change = last.model.predict_proba(FIXTURES) - at_once.model.predict_proba(FIXTURES)
    assert np.abs(change).max() < 1e-12


def test_a_league_without_results_has_its_model_as_trained(stored):
    version = SimpleNamespace(
        name='N1-x', version='1', model=SimpleNamespace(), trained_on={'as_of': TRAINED.isoformat()}
    )
    known = read_known_results(stored, ('N1',), LATER)
    assert (known.matches, known.last) == (0, None)
    assert is_as_trained(stored, version, known)


def test_a_fixture_of_a_league_without_a_model_is_left_out(stored):
    version = trained_version(stored)
    fixtures = MATCHES.filter(pl.col('kickoff') > TRAINED).with_columns(status=pl.lit('scheduled'))
    snapshot = build_snapshot(fixtures, {'E0': version}, LATER)
    assert set(snapshot.fixtures['league']) == {'E0'}
