"Features: no look-ahead, and the same numbers as slow plain Python."

import hashlib
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from football_pred.core.as_of import mask_future_results
from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.evaluation.leakage import LeakageError, assert_no_leakage
from football_pred.features.build import (
    FEATURE_KEYS,
    FEATURE_NAMES,
    FEATURES,
    Feature,
    build_features,
    feature_table,
    features_fingerprint,
    recent_form,
)
from football_pred.ratings.elo_and_pi import (
    Elo,
    PiRatings,
    feature_time,
)
from tests.support.look_ahead import (
    AFTER_ALL,
    CUTOFFS,
    awkward_league,
    moved_columns,
    scramble,
    truncate,
)


@pytest.fixture(scope='module', name='matches')
def matches_() -> pl.DataFrame:
    return awkward_league()


@pytest.fixture(scope='module', name='features')
def features_(matches: pl.DataFrame) -> pl.DataFrame:
    return build_features(matches, AFTER_ALL)


# ---- no look-ahead


def moved_by(matches: pl.DataFrame) -> dict[tuple, set[str]]:
    return {
        (cutoff, change.__name__): moved_columns(
            lambda frame: build_features(frame, AFTER_ALL), matches, cutoff, change
        )
        for cutoff in CUTOFFS
        for change in (scramble, truncate)
    }


@pytest.fixture(scope='module', name='moved')
def moved_(matches: pl.DataFrame) -> dict[tuple, set[str]]:
    return moved_by(matches)


@pytest.mark.parametrize('feature', FEATURES, ids=lambda feature: feature.name)
def test_no_feature_looks_ahead(feature: Feature, moved, matches):
    assert {case for case, names in moved.items() if feature.name in names} == set()


@pytest.mark.parametrize(
    'feature',
    [feature for feature in FEATURES if feature.view != 'odds'],
    ids=lambda feature: feature.name,
)
def test_every_feature_learns_from_results(feature: Feature, matches, features):
    "A constant would never look ahead; so each feature must also react to earlier results."
    cutoff = CUTOFFS[0]
    kept = pl.col('result_known_at').is_between(datetime(2022, 8, 20, tzinfo=UTC), cutoff).not_()
    changed = build_features(matches.filter(kept), AFTER_ALL)
    joined = features.join(changed, on='match_id').filter(pl.col('feature_time') > cutoff)
    assert joined.filter(pl.col(feature.name).ne_missing(pl.col(f'{feature.name}_right'))).height


def test_a_price_counts_from_the_time_it_is_known(matches):
    entities = matches.filter(pl.col('opening_home').is_not_null()).sort('kickoff', 'match_id')
    for late, earlier in ((timedelta(0), True), (timedelta(microseconds=1), False)):
        result = build_features(
            entities.with_columns(opening_known_at=feature_time() + late), AFTER_ALL
        )
        assert result.select(
            pl.sum_horizontal('market_home', 'market_draw', 'market_away', ignore_nulls=False)
        ).to_series().to_list() == (
            pytest.approx([1] * entities.height) if earlier else [None] * entities.height
        )
    prices = build_features(
        entities.with_columns(
            opening_known_at=feature_time(), opening_home=2.0, opening_draw=4.0, opening_away=4.0
        ),
        AFTER_ALL,
    )
    assert prices.select('market_home', 'market_draw', 'market_away').unique().rows() == [
        (0.5, 0.25, 0.25)
    ]
    invalid = build_features(
        entities.with_columns(opening_known_at=feature_time(), opening_home=1.0), AFTER_ALL
    )
    assert invalid['market_draw'].null_count() == entities.height


def test_frames_without_statistics_and_prices_are_described_by_results(matches, features):
    bare = build_features(
        matches.drop(pl.selectors.contains('opening', 'closing', 'shots', 'corners')), AFTER_ALL
    )
    for feature in FEATURES:
        if feature.view in ('shots', 'odds'):
            assert bare[feature.name].null_count() == bare.height
        else:
            assert bare[feature.name].equals(features[feature.name])


def test_a_number_that_is_missing_is_missing_in_its_window(matches):
    first_match = matches.sort('result_known_at', 'kickoff', 'match_id').filter(status='finished')[
        'match_id'
    ][60]
    gap = matches.with_columns(
        home_corners=pl.when(pl.col('match_id') != first_match).then(
            pl.col('home_corners').fill_null(4)
        ),
        away_corners=pl.col('away_corners').fill_null(4),
    )
    before, after = (
        build_features(frame, AFTER_ALL)
        for frame in (gap.with_columns(pl.col('home_corners').fill_null(4)), gap)
    )
    lost = {name: after[name].null_count() - before[name].null_count() for name in FEATURE_NAMES}
    corners = {f'{side}_corners_{way}_5' for side in ('home', 'away') for way in ('for', 'against')}
    assert {name for name, count in lost.items() if count} == corners


def leaky(frame: pl.DataFrame) -> pl.DataFrame:
    "Features with three leaks: goals of the match, of other matches of the day, of all seasons."
    frame = frame.sort('kickoff', 'match_id')
    return build_features(frame, AFTER_ALL).join(
        frame.select(
            'match_id',
            'date',
            own=pl.col('home_goals'),
            others=pl.col('home_goals').sum().over('date') - pl.col('home_goals'),
            season_mean=pl.col('home_goals').mean().over('home_team'),
        ),
        on='match_id',
    )


@pytest.mark.parametrize('change', [scramble, truncate])
def test_planted_leaks_are_found(change, matches):
    result = set().union(*(moved_columns(leaky, matches, cutoff, change) for cutoff in CUTOFFS))
    assert result >= {'others', 'season_mean'}
    # A truncated match is not compared; its own score differs only when it is scrambled.
    assert ('own' in result) == (change is scramble)
    assert not result & set(FEATURE_NAMES)


def forecast(frame: pl.DataFrame) -> pl.DataFrame:
    return build_features(frame, AFTER_ALL).rename({'feature_time': 'as_of'})


@pytest.mark.parametrize('cutoff', CUTOFFS, ids=str)
def test_the_check_of_backtests_agrees(cutoff, matches):
    assert assert_no_leakage(forecast, matches, cutoff) > 20
    for leak in ('own', 'others', 'season_mean'):

        def planted(frame, leak=leak):
            leaks = leaky(frame).select('match_id', leak)
            return forecast(frame).join(leaks, on='match_id')

        with pytest.raises(LeakageError, match=rf'\b{leak}\b.*looks ahead'):
            assert_no_leakage(planted, matches, cutoff)


def test_two_matches_of_a_team_on_one_day_do_not_inform_each_other():
    base = sample_matches(sample_strengths(4, seed=1), seed=1).head(3)
    day = datetime(2022, 3, 5, tzinfo=UTC)
    frame = base.with_columns(
        match_id=pl.Series(['one', 'two', 'three']),
        home_team=pl.lit('A'),
        away_team=pl.Series(['B', 'C', 'B']),
        date=pl.lit(date(2022, 3, 5)),
        kickoff=pl.Series([day + timedelta(hours=h) for h in (10, 18, 34)]),
        home_goals=pl.lit(3),
        away_goals=pl.lit(0),
        result_known_at=pl.Series([day + timedelta(hours=h) for h in (12, 20, 36)]),
    )
    result = build_features(frame, AFTER_ALL)
    assert result['home_played'].to_list() == [0, 0, 2]
    assert result['home_elo'].is_null().to_list() == [True, True, False]
    assert Elo().rate_matches(frame)['home_elo'].to_list()[:2] == [1500, 1500]


def test_a_result_counts_from_the_time_it_is_known():
    frame = sample_matches(sample_strengths(2, seed=1), seed=1)
    assert frame.height == 2
    second = frame['kickoff'][1].replace(hour=0, minute=0)
    for known_at, played in ((second, 1), (second + timedelta(microseconds=1), 0)):
        late = frame.with_columns(
            result_known_at=pl.Series([known_at, frame['result_known_at'][1]])
        )
        assert build_features(late, AFTER_ALL)['home_played'].to_list() == [0, played]


# ---- the same numbers, slowly


def slow_elo(earlier: list[dict]) -> dict[str, float]:
    rating: dict[str, float] = {}
    for match in earlier:
        home, away = rating.get(match['home_team'], 1500.0), rating.get(match['away_team'], 1500.0)
        expected = 1 / (1 + 10 ** -((home + (0 if match['neutral'] else 65) - away) / 400))
        margin = match['home_goals'] - match['away_goals']
        move = (
            10 * (1 + abs(margin)) * ((1 if margin > 0 else 0.5 if margin == 0 else 0) - expected)
        )
        rating[match['home_team']], rating[match['away_team']] = home + move, away - move
    return rating


def slow_goals(rating: float) -> float:
    return math.copysign(10 ** (abs(rating) / 3) - 1, rating)


def slow_pi(earlier: list[dict]) -> dict[str, list[float]]:
    rating: dict[str, list[float]] = {}
    for match in earlier:
        home = rating.setdefault(match['home_team'], [0.0, 0.0])
        away = rating.setdefault(match['away_team'], [0.0, 0.0])
        neutral = match['neutral']
        home_goals = slow_goals(sum(home) / 2 if neutral else home[0])
        away_goals = slow_goals(sum(away) / 2 if neutral else away[1])
        error = match['home_goals'] - match['away_goals'] - (home_goals - away_goals)
        move = 0.035 * math.copysign(3 * math.log10(1 + abs(error)), error)
        same_venue = 0.85 * move if neutral else move
        other_venue = 0.85 * move if neutral else 0.7 * move
        home[0] += same_venue
        home[1] += other_venue
        away[1] -= same_venue
        away[0] -= other_venue
    return rating


def slow_side(match: dict, side: str, earlier: list[dict], asked_at: datetime) -> dict:
    team = match[f'{side}_team']
    team_matches = [
        (m, 'home' if m['home_team'] == team else 'away')
        for m in earlier
        if team in (m['home_team'], m['away_team'])
    ]
    scored = [m[f'{s}_goals'] for m, s in team_matches]
    conceded = [m['away_goals' if s == 'home' else 'home_goals'] for m, s in team_matches]

    points = [
        3 * (goals_for > goals_against) + (goals_for == goals_against)
        for goals_for, goals_against in zip(scored, conceded, strict=True)
    ]
    venue_points = [
        p for p, (m, s) in zip(points, team_matches, strict=True) if s == side and not m['neutral']
    ]

    def last(values: list, n: int):
        return sum(values[-n:]) / n if len(values) >= n else None

    def faded(values: list):
        weights = [0.5 ** (i / 10) for i in range(len(values))][::-1]
        return (
            sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            if len(values) >= 5
            else None
        )

    pi = slow_pi(earlier).get(team)
    elo = slow_elo(earlier).get(team)
    opponent = {'home': 'away', 'away': 'home'}

    def mean_count(name: str, of_team: bool):
        sides = [(m, s if of_team else opponent[s]) for m, s in team_matches[-5:]]
        values = [m[f'{s}_{name}'] for m, s in sides]
        return None if len(values) < 5 or None in values else sum(values) / 5

    shots = {
        f'{name}_{way}_5': mean_count(name, way == 'for')
        for name in ('shots_on_target', 'corners')
        for way in ('for', 'against')
    }
    return shots | {
        'elo': elo,
        'pi': None if pi is None else sum(pi) / 2 if match['neutral'] else pi[side == 'away'],
        'points_5': last(points, 5),
        'points_10': last(points, 10),
        'goals_for_5': last(scored, 5),
        'goals_against_5': last(conceded, 5),
        'goals_for_faded': faded(scored),
        'goals_against_faded': faded(conceded),
        'venue_points_5': last(venue_points, 5),
        'rest_days': min(14, (match['date'] - max(m['date'] for m, _ in team_matches)).days)
        if team_matches
        else None,
        'played': sum(m['season'] == match['season'] for m, _ in team_matches),
    }


def slow_features(matches: pl.DataFrame, as_of: datetime) -> list[dict]:
    "Every feature of every match, computed from scratch with loops."
    everything, result = matches.to_dicts(), []
    for match in everything:
        asked_at = min(
            as_of,
            (match['kickoff'] - timedelta(microseconds=1)).replace(
                hour=0, minute=0, second=0, microsecond=0
            ),
        )
        earlier = sorted(
            (
                m
                for m in everything
                if m['status'] == 'finished' and m['result_known_at'] <= asked_at
            ),
            key=lambda m: (m['result_known_at'], m['kickoff'], m['match_id']),
        )
        sides = {side: slow_side(match, side, earlier, asked_at) for side in ('home', 'away')}
        row = {
            f'{side}_{name}': value
            for side, values in sides.items()
            for name, value in values.items()
        }
        joined = None not in (row['home_elo'], row['away_elo'])
        row['elo_difference'] = row['home_elo'] - row['away_elo'] if joined else None
        row['pi_difference'] = (
            slow_goals(row['home_pi']) - slow_goals(row['away_pi']) if joined else None
        )
        pair = {match['home_team'], match['away_team']}
        met = [
            (m['home_goals'] - m['away_goals'])
            * (1 if m['home_team'] == match['home_team'] else -1)
            for m in earlier
            if {m['home_team'], m['away_team']} == pair
        ][-5:]
        row['head_to_head_5'] = sum(met) / len(met) if met else None
        available = match['opening_known_at'] is not None and match['opening_known_at'] <= asked_at
        shares = {
            outcome: 1 / match[f'opening_{outcome}'] if available else None
            for outcome in ('home', 'draw', 'away')
        }
        row |= {
            f'market_{outcome}': share / sum(shares.values()) if available else None
            for outcome, share in shares.items()
        }
        result.append(row)
    return result


@pytest.fixture(scope='module', name='slow')
def slow_(matches: pl.DataFrame) -> dict[datetime, list[dict]]:
    return {as_of: slow_features(matches, as_of) for as_of in (AFTER_ALL, CUTOFFS[1])}


@pytest.mark.parametrize('as_of', [AFTER_ALL, CUTOFFS[1]], ids=str)
@pytest.mark.parametrize('feature', FEATURES, ids=lambda feature: feature.name)
def test_feature_equals_the_slow_reference(feature: Feature, as_of, matches, slow):
    fast = build_features(matches, as_of)[feature.name].to_list()
    expected = [row[feature.name] for row in slow[as_of]]
    assert len(slow[as_of][0]) == len(FEATURES)
    assert [value is None for value in fast] == [value is None for value in expected]
    available = [value for value in expected if value is not None]
    assert [value for value in fast if value is not None] == pytest.approx(
        available, rel=1e-12, abs=1e-11
    )
    # The reference has values and, where history can be missing, nulls.
    assert len(available) > 20
    assert (None in expected) == (not feature.name.endswith('played'))


def test_no_results_at_all(matches):
    nothing = matches.with_columns(status=pl.lit('scheduled'))
    result = build_features(nothing, AFTER_ALL)
    needs_results = pl.exclude(*FEATURE_KEYS, 'home_played', 'away_played', '^market_.*$')
    assert result.select(needs_results).null_count().sum_horizontal().item() == 31 * result.height
    assert build_features(matches.head(0), AFTER_ALL).schema == result.schema


# ---- the frame


def test_the_frame_has_the_columns_of_the_registry(features, matches):
    assert features.columns == [*FEATURE_KEYS, *FEATURE_NAMES]
    assert [features.schema[feature.name] for feature in FEATURES] == [
        feature.dtype for feature in FEATURES
    ]
    assert (
        features['match_id'].to_list() == matches.sort('kickoff', 'match_id')['match_id'].to_list()
    )
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert feature_table()['name'].to_list() == list(FEATURE_NAMES)
    assert all(
        feature.unit and feature.source and 'null' in feature.meaning for feature in FEATURES
    )
    assert (features['feature_time'] < features['kickoff']).all()


def test_row_order_does_not_matter(matches, features):
    mixed = matches.sample(fraction=1, shuffle=True, seed=5)
    assert build_features(mixed, AFTER_ALL).equals(features)


@pytest.mark.parametrize('as_of', CUTOFFS, ids=str)
def test_masked_or_not_the_features_are_the_same(as_of, matches):
    assert build_features(mask_future_results(matches, as_of), as_of).equals(
        build_features(matches, as_of)
    )


@pytest.mark.parametrize('as_of', CUTOFFS, ids=str)
def test_served_features_equal_training_features(as_of, matches, features):
    "Rows do not change after their feature time."
    served = build_features(mask_future_results(matches, as_of), as_of)
    come = served.join(matches.filter(feature_time() <= as_of), on='match_id', how='semi')
    assert come.height > 20
    assert come.equals(features.join(come, on='match_id', how='semi'))
    assert (served['feature_time'] <= as_of).all()


def sixth(column: str, value: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    "Another value, or the value of another column, in one row."
    return lambda m: m.with_columns(
        pl.when(pl.int_range(pl.len()) == 5).then(value).otherwise(column).alias(column)
    )


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda m: m.vstack(m[5:6]), 'match_id stands in more than one row'),
        (sixth('home_goals', None), 'home_goals is empty'),
        (sixth('away_goals', None), 'away_goals is empty'),
        (sixth('away_goals', -1), 'away_goals is negative'),
        (sixth('result_known_at', None), 'result_known_at is empty'),
        (sixth('result_known_at', 'kickoff'), 'result_known_at is not after kickoff'),
        (sixth('home_team', 'away_team'), 'the same team'),
    ],
)
def test_bad_frames_are_refused_by_name(change, message, matches):
    played = matches.filter(pl.col('status') == 'finished')
    invalid = change(played)
    for call in (
        lambda: build_features(invalid, AFTER_ALL),
        lambda: Elo().rate_matches(invalid),
        lambda: PiRatings().rate_matches(invalid),
    ):
        with pytest.raises(ValueError, match=f"Match {played['match_id'][5]}: .*{message}"):
            call()


def test_other_errors(matches):
    naive = datetime(2022, 1, 1)  # noqa: DTZ001
    with pytest.raises(ValueError, match=r"lack the columns \['season'\]"):
        build_features(matches.drop('season'), AFTER_ALL)
    with pytest.raises(ValueError, match='no time zone'):
        build_features(matches, naive)


# ---- fingerprint and form


def test_fingerprint_is_the_documented_one():
    moments = pl.Series(
        [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), None], dtype=pl.Datetime('ms', 'UTC')
    )
    frame = pl.DataFrame(
        {
            'match_id': ['b', 'a'],
            'x': [-0.0, math.nan],
            'n': [None, 7],
            'yes': [True, None],
            'on': [date(1970, 1, 3), None],
            'at': moments,
        }
    )

    def whole(value: int) -> bytes:
        return value.to_bytes(8, 'little')

    content = (
        b'match_id:text\nx:float\nn:integer\nyes:truth\non:date\nat:moment\n\n'
        + b'\1\1'
        + whole(1)
        + whole(1)
        + b'ab'
        + b'\1\1'
        + np.array([np.nan, 0.0], '<f8').tobytes()
        + b'\1\0'
        + whole(7)
        + whole(0)
        + b'\0\1'
        + whole(0)
        + whole(1)
        + b'\0\1'
        + whole(0)
        + whole(2)
        + b'\0\1'
        + whole(0)
        + whole(1_000_000)
    )
    assert features_fingerprint(frame) == hashlib.sha256(content).hexdigest()


def test_fingerprint_depends_on_content_and_not_on_order(features):
    same = features_fingerprint(features)
    assert features_fingerprint(features.reverse()) == same
    assert features_fingerprint(pl.concat([features[:50], features[50:]], rechunk=False)) == same
    assert features_fingerprint(features.with_columns(home_elo=pl.col('home_elo') + 1e-9)) != same
    assert (
        features_fingerprint(features.with_columns(home_elo=pl.col('home_elo').fill_null(0.0)))
        != same
    )
    assert features_fingerprint(features.rename({'home_elo': 'elo_home'})) != same
    assert features_fingerprint(features[1:]) != same
    # Texts that join to the same text have different fingerprints.
    first_match, two = (
        pl.DataFrame({'match_id': [first, second]}) for first, second in (('ab', 'c'), ('a', 'bc'))
    )
    assert features_fingerprint(first_match) != features_fingerprint(two)
    with pytest.raises(ValueError, match='stands in more than one row'):
        features_fingerprint(features.vstack(features[:1]))
    with pytest.raises(ValueError, match='no column match_id'):
        features_fingerprint(features.drop('match_id'))


def test_fingerprint_of_a_known_frame_never_changes():
    frame = pl.DataFrame({'match_id': ['a', 'b'], 'home_elo': [1500.0, None]})
    assert (
        features_fingerprint(frame)
        == '799d5f3a82ae8aa4587910aeb09f1da7dd20b148c07eb82914957a87d737b584'
    )


def test_recent_form(matches):
    played = matches.filter(pl.col('status') == 'finished')
    as_of = CUTOFFS[1]
    for team in matches['home_team'].unique():
        earlier = played.filter(
            (pl.col('result_known_at') <= as_of)
            & ((pl.col('home_team') == team) | (pl.col('away_team') == team))
        )
        letters = []
        for row in earlier.sort('date', 'result_known_at').tail(5).iter_rows(named=True):
            margin = (row['home_goals'] - row['away_goals']) * (
                1 if row['home_team'] == team else -1
            )
            letters.append('W' if margin > 0 else 'D' if margin == 0 else 'L')
        assert recent_form(matches, team, as_of) == ''.join(letters)
    assert recent_form(matches, 'nobody', as_of) == ''


def test_ratings_predict():
    matches = sample_matches(sample_strengths(20, seed=2), n_seasons=5, seed=2)
    result = (
        build_features(matches, AFTER_ALL)
        .join(matches, on='match_id')
        .filter(pl.col('season_right') != matches['season'][0])
    )
    margin = (result['home_goals'] - result['away_goals']).to_numpy()
    for name in ('elo_difference', 'pi_difference'):
        assert np.corrcoef(result[name].to_numpy(), margin)[0, 1] > 0.3
