"The past is forecast with what was known, every model on the same matches, and a model that looks ahead is caught."

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator

from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.evaluation.backtest import (
    finished_matches,
    refit_times,
    to_football_data_uk,
    walk_forward,
)
from football_pred.evaluation.leakage import (
    LeakageError,
    assert_no_leakage,
    scramble_after,
    truncate_after,
)
from football_pred.markets.score_grid import outcome_codes
from football_pred.models.base_rate import BaseRate
from football_pred.models.dixon_coles import DixonColes

MATCHES = sample_matches(sample_strengths(8), n_seasons=3)
START = date(2022, 8, 1)
CUTOFF = datetime(2023, 9, 18, tzinfo=UTC)  # a Monday, in the middle of a season


class Counts(BaseEstimator):
    "Frequencies of outcomes; notes what it was given."

    seen: list = []  # noqa: RUF012

    def fit(self, matches, as_of):
        self.seen.append((as_of, matches))
        counts = (
            np.bincount(outcome_codes(matches['home_goals'], matches['away_goals']), minlength=3)
            + 1
        )
        self.probabilities_ = counts / counts.sum()
        return self

    def predict_proba(self, fixtures):
        self.seen.append((None, fixtures))
        return np.tile(self.probabilities_, (len(fixtures), 1))


@pytest.fixture
def seen():
    Counts.seen.clear()
    return Counts.seen


def known(frame):
    return frame.filter(pl.col('home_goals').is_not_null())


# What the models are given


@pytest.mark.parametrize('refit', ['week', 'day'])
def test_models_learn_from_what_was_known_and_nothing_else(seen, refit):
    walk_forward({'counts': Counts()}, MATCHES, START, refit=refit)
    for (as_of, learned), (_, asked) in zip(seen[::2], seen[1::2], strict=True):
        assert (learned['result_known_at'] <= as_of).all()
        assert learned.height == MATCHES.filter(pl.col('result_known_at') <= as_of).height, (
            'all of it'
        )
        assert (asked['kickoff'] > as_of).all()
        assert (asked['kickoff'] <= as_of + timedelta(days=7 if refit == 'week' else 1)).all()
        assert not {'home_goals', 'away_goals', 'status', 'result_known_at'} & {*asked.columns}


def test_every_model_forecasts_every_match_once():
    forecasts = walk_forward({'a': Counts(), 'b': BaseRate(), 'c': DixonColes()}, MATCHES, START)
    expected = MATCHES.filter(pl.col('kickoff') >= datetime(2022, 8, 1, tzinfo=UTC))[
        'match_id'
    ].sort()
    for _, part in forecasts.group_by('model'):
        assert part['match_id'].sort().equals(expected)
    assert forecasts.columns == [
        'match_id',
        'model',
        'league',
        'season',
        'date',
        'kickoff',
        'as_of',
        'home_team',
        'away_team',
        'home_goals',
        'away_goals',
        'outcome',
        'p_home',
        'p_draw',
        'p_away',
    ]
    assert forecasts.null_count().transpose().sum().item() == 0
    assert forecasts['as_of'].dtype == pl.Datetime('us', 'UTC')


def test_outcome_is_what_happened():
    forecasts = walk_forward({'counts': Counts()}, MATCHES, START).join(
        MATCHES, on='match_id', suffix=' true'
    )
    assert (forecasts['home_goals'] == forecasts['home_goals true']).all()
    sign = {'home': 1, 'draw': 0, 'away': -1}
    assert all(
        np.sign(row['home_goals'] - row['away_goals']) == sign[row['outcome']]
        for row in forecasts.iter_rows(named=True)
    )


def test_forecasts_belong_to_their_matches():
    "Probabilities come back in the order of the fixtures: those of one match are those of a fit by hand."
    forecasts = walk_forward(
        {'dc': DixonColes()}, MATCHES.sample(fraction=1, shuffle=True, seed=0), START
    )
    row = forecasts.row(100, named=True)
    past = MATCHES.filter(pl.col('result_known_at') <= row['as_of'])
    by_hand = (
        DixonColes()
        .fit(past, as_of=row['as_of'])
        .predict_proba(pl.DataFrame({k: [row[k]] for k in ('home_team', 'away_team')}))
    )
    assert [row['p_home'], row['p_draw'], row['p_away']] == pytest.approx(by_hand[0], abs=1e-9)


def test_leagues_do_not_learn_from_each_other():
    other = sample_matches(sample_strengths(6, seed=1), n_seasons=3, seed=1).with_columns(
        league=pl.lit('TWO'), match_id='TWO' + pl.col('match_id')
    )
    both = walk_forward({'dc': DixonColes()}, pl.concat([MATCHES, other]), START)
    for league, alone in (('SIM', MATCHES), ('TWO', other)):
        assert both.filter(league=league).equals(walk_forward({'dc': DixonColes()}, alone, START))


def test_the_estimator_given_is_left_unfitted():
    model = DixonColes()
    walk_forward({'dc': model}, MATCHES, date(2023, 9, 1), date(2023, 9, 20))
    assert not [name for name in vars(model) if name.endswith('_')]


def test_start_and_end():
    part = walk_forward(
        {'counts': Counts()}, MATCHES, datetime(2022, 9, 3, 15, tzinfo=UTC), date(2022, 10, 1)
    )
    assert part['kickoff'].min() >= datetime(2022, 9, 3, 15, tzinfo=UTC)
    assert part['kickoff'].max() < datetime(2022, 10, 1, tzinfo=UTC)
    whole = walk_forward({'counts': Counts()}, MATCHES, START)
    assert part.equals(whole.filter(pl.col('match_id').is_in(part['match_id'].implode()))), (
        'a shorter window says the same'
    )


def test_progress_counts_blocks():
    calls = []
    walk_forward(
        {'a': Counts(), 'b': Counts()}, MATCHES, START, progress=lambda *call: calls.append(call)
    )
    assert calls == [(i + 1, len(calls)) for i in range(len(calls))]
    assert (
        len(calls)
        == refit_times(
            MATCHES.filter(pl.col('kickoff') >= datetime(2022, 8, 1, tzinfo=UTC))['kickoff']
        ).n_unique()
    )


def test_only_finished_matches_count(seen):
    status = pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit('awarded')).otherwise('status')
    some = MATCHES.with_columns(status=status)
    forecasts = walk_forward({'counts': Counts()}, some, START)
    finished = some.filter(status='finished')
    assert not {*forecasts['match_id']} - {*finished['match_id']}
    assert all((frame['status'] == 'finished').all() for as_of, frame in seen if as_of)


# Midnight


def test_a_kickoff_at_the_start_of_a_block_belongs_to_the_one_before():
    midnight = pl.Series(
        [datetime(2025, 8, 18, tzinfo=UTC), datetime(2025, 8, 18, 0, 0, 0, 1, tzinfo=UTC)]
    )
    assert refit_times(midnight).dt.day().to_list() == [11, 18]
    assert refit_times(midnight, 'day').dt.day().to_list() == [17, 18]


@pytest.mark.parametrize('refit', ['week', 'day'])
def test_matches_of_which_only_the_date_is_known(refit):
    dates = MATCHES.with_columns(
        kickoff=pl.col('kickoff').dt.truncate('1d'), kickoff_known=pl.lit(False)
    )
    forecasts = walk_forward({'counts': Counts()}, dates, START, refit=refit)
    assert (forecasts['as_of'] < forecasts['kickoff']).all()
    assert_no_leakage(
        lambda frame: walk_forward({'counts': Counts()}, frame, START, refit=refit), dates, CUTOFF
    )


# What is refused


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        (lambda m: m.drop('season', 'status'), r"\['season', 'status'\]"),
        (lambda m: pl.concat([m, m.head(1)]), 'appears twice'),
        (
            lambda m: m.with_columns(home_goals=pl.lit(None, pl.Int64)),
            'is finished and has no score',
        ),
        (lambda m: m.with_columns(away_goals=pl.lit(-1)), 'away_goals is -1'),
        (
            lambda m: m.with_columns(result_known_at=pl.lit(None, pl.Datetime('us', 'UTC'))),
            'has no result_known_at',
        ),
        (
            lambda m: m.with_columns(result_known_at=pl.col('kickoff') - timedelta(days=1)),
            'known no later than its kick-off',
        ),
    ],
)
def test_bad_matches_are_refused(change, problem):
    with pytest.raises(ValueError, match=problem):
        walk_forward({'counts': Counts()}, change(MATCHES), START)


@pytest.mark.parametrize(
    ('answer', 'problem'),
    [
        (lambda n: np.full((n, 3), 0.5), 'sum to 1.5'),
        (lambda n: np.full((n, 3), np.nan), 'is nan'),
        (lambda n: np.full((n, 2), 0.5), 'shape'),
        (lambda n: np.full((n + 1, 3), 1 / 3), 'forecasts of'),
    ],
)
def test_bad_forecasts_are_refused(answer, problem):
    class Wrong(Counts):
        def predict_proba(self, fixtures):
            return answer(len(fixtures))

    with pytest.raises(ValueError, match=f'Model wrong, SIM at 2022-08-1.*{problem}'):
        walk_forward({'wrong': Wrong()}, MATCHES, START)


def test_naive_moments_are_refused():
    with pytest.raises(ValueError, match='no time zone'):
        walk_forward({'counts': Counts()}, MATCHES, datetime(2022, 8, 1))  # noqa: DTZ001


def test_refit_is_week_or_day():
    with pytest.raises(ValueError, match="refit is 'season'"):
        walk_forward({'counts': Counts()}, MATCHES, START, refit='season')


# The kit

REAL = {'base rate': BaseRate(), 'dixon-coles': DixonColes()}


@pytest.mark.parametrize('refit', ['week', 'day'])
@pytest.mark.parametrize('name', REAL)
def test_models_do_not_leak(name, refit):
    def forecast(frame):
        return walk_forward({name: REAL[name]}, frame, date(2023, 8, 1), date(2023, 11, 1), refit)

    assert assert_no_leakage(forecast, MATCHES, CUTOFF) > 15


@pytest.mark.parametrize('hours', [0, 1, 24 * 5 + 14, 24 * 6 + 15, 24 * 7])
def test_any_cutoff_will_do(hours):
    assert assert_no_leakage(
        lambda frame: walk_forward({'counts': Counts()}, frame, START),
        MATCHES,
        CUTOFF + timedelta(hours=hours),
    )


def counting(results):
    "A model that learns from `results` in place of what it is given; `results(matches, as_of)`."

    def forecast(frame):
        class Peeking(Counts):
            def fit(self, matches, as_of):
                return super().fit(results(frame, as_of), as_of)

        return walk_forward({'peeking': Peeking()}, frame, START)

    return forecast


@pytest.mark.parametrize(
    'results',
    [
        lambda frame, as_of: known(frame),
        lambda frame, as_of: known(frame).filter(pl.col('kickoff') <= as_of + timedelta(days=7)),
        lambda frame, as_of: (
            known(frame).filter(pl.col('season') == '2324') if as_of.year > 2022 else known(frame)
        ),
        lambda frame, as_of: frame.filter(pl.col('date') <= as_of.date() + timedelta(days=6)),
    ],
    ids=['everything', 'next week', 'the season', 'by date'],
)
def test_planted_leaks_are_caught(results):
    with pytest.raises(
        LeakageError, match=r'scrambling .* of model peeking, match_id SIM-.*: it looks ahead'
    ):
        assert_no_leakage(counting(results), MATCHES, CUTOFF)


def test_honest_twin_of_the_planted_leaks_passes():
    assert_no_leakage(
        counting(lambda frame, as_of: frame.filter(pl.col('result_known_at') <= as_of)),
        MATCHES,
        CUTOFF,
    )


def test_a_leak_of_the_number_of_matches_is_caught_by_leaving_out():
    def forecast(frame):
        return walk_forward({'counts': Counts()}, frame, START).with_columns(
            level=pl.lit(frame.height)
        )

    with pytest.raises(LeakageError, match=r'leaving out .*level of'):
        assert_no_leakage(forecast, MATCHES, CUTOFF)


def test_rows_that_vanish_are_caught():
    last = MATCHES['home_goals'][-1]

    def forecast(frame):
        same = pl.lit(frame['home_goals'][-1] == last)
        return walk_forward({'counts': Counts()}, frame, START).filter(
            same | (pl.col('season') > '2223')
        )

    with pytest.raises(LeakageError, match=r'the row of .* is missing'):
        assert_no_leakage(forecast, MATCHES, CUTOFF)


def test_forecast_after_kickoff_is_a_leak():
    def forecast(frame):
        return walk_forward({'counts': Counts()}, frame, START).with_columns(
            as_of=pl.col('kickoff')
        )

    with pytest.raises(LeakageError, match='is not before its kick-off'):
        assert_no_leakage(forecast, MATCHES, CUTOFF)


def test_chance_is_not_mistaken_for_a_leak():
    rng = np.random.default_rng()

    def forecast(frame):
        return walk_forward({'counts': Counts()}, frame, START).with_columns(
            noise=pl.lit(rng.random())
        )

    with pytest.raises(LeakageError, match='does not even repeat itself'):
        assert_no_leakage(forecast, MATCHES, CUTOFF)


def test_frames_of_features_or_ratings_can_be_tested_too():
    "Any frame with an `as_of`, by other keys: goals of each team so far, and the same with one match too many."
    days = [CUTOFF - timedelta(days=7 * k) for k in range(4)]

    def goals(frame, late):
        return pl.concat(
            frame.filter(pl.col('result_known_at') <= day + late)
            .group_by(team='home_team')
            .agg(goals=pl.sum('home_goals'))
            .with_columns(as_of=pl.lit(day))
            for day in days
        )

    assert (
        assert_no_leakage(lambda frame: goals(frame, timedelta(0)), MATCHES, CUTOFF, keys=['team'])
        == 32
    )
    with pytest.raises(LeakageError, match='goals of team team_0'):
        assert_no_leakage(
            lambda frame: goals(frame, timedelta(days=6)), MATCHES, CUTOFF, keys=['team']
        )


def test_the_kit_refuses_to_prove_nothing():
    def forecast(frame):
        return walk_forward({'counts': Counts()}, frame, START)

    for moment in (datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)):
        with pytest.raises(ValueError, match='nothing would be tested'):
            assert_no_leakage(forecast, MATCHES, moment)
    with pytest.raises(ValueError, match='needs as_of'):
        assert_no_leakage(lambda frame: forecast(frame).drop('as_of'), MATCHES, CUTOFF)
    with pytest.raises(ValueError, match='More than one row'):
        assert_no_leakage(forecast, MATCHES, CUTOFF, keys=['model'])


def test_scrambling_changes_every_later_result_and_no_earlier_one():
    scrambled, later = scramble_after(MATCHES, CUTOFF), (pl.col('result_known_at') > CUTOFF)
    for column in ('home_goals', 'away_goals'):
        assert (scrambled.filter(later)[column] != MATCHES.filter(later)[column]).all()
    assert scrambled.filter(~later).equals(MATCHES.filter(~later))
    assert scrambled.drop('home_goals', 'away_goals').equals(
        MATCHES.drop('home_goals', 'away_goals')
    )
    assert scrambled.schema == MATCHES.schema
    assert truncate_after(MATCHES, CUTOFF).equals(MATCHES.filter(~later))


def test_numbers_that_come_with_a_result_are_scrambled_too():
    more = MATCHES.with_columns(shots=pl.lit(9, pl.Int32), expected=pl.lit(1.5))
    later = scramble_after(more, CUTOFF).filter(pl.col('result_known_at') > CUTOFF)
    assert (later['shots'] != 9).all()
    assert (later['expected'] != 1.5).all()


# Out


def test_source_format():
    forecasts = walk_forward({'counts': Counts()}, MATCHES, START)
    out = to_football_data_uk(forecasts)
    assert out.columns == [
        'model',
        'league',
        'season',
        'date',
        'home',
        'away',
        'p_home',
        'p_draw',
        'p_away',
    ]
    assert out.height == forecasts.height


def test_history_is_ordered_by_when_it_became_known():
    late = MATCHES.with_columns(
        result_known_at=pl.col('result_known_at') + pl.duration(days=pl.int_range(pl.len()) % 40)
    )
    finished = finished_matches(late.sample(fraction=1, shuffle=True, seed=3))
    assert finished['result_known_at'].is_sorted()
    assert_no_leakage(lambda frame: walk_forward({'counts': Counts()}, frame, START), late, CUTOFF)
