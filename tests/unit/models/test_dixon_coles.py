"The Dixon-Coles fit: its derivatives, its maximum beside penaltyblog's, what it recovers, and what it does with next to nothing."

import dataclasses
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import poisson

from football_pred.core.numerics import NotConverged
from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.models.dixon_coles import (
    DixonColes,
    NormalPrior,
    build_prior,
    derivatives,
    initial_parameters,
    log_likelihood,
    maximise_likelihood,
    newcomer_mask,
    penalised_log_likelihood,
)
from football_pred.models.pair_tables import build_pair_tables
from football_pred.ratings.match_arrays import decay_weights, read_training_matches

STRENGTHS = sample_strengths(12, n_lower_league=4, seed=5)
MATCHES = sample_matches(STRENGTHS, n_seasons=4, n_promoted=2, n_teams=12, seed=5)
MIXED = MATCHES.with_columns(
    neutral=pl.int_range(pl.len()) % 5 == 0, weight=0.5 + pl.int_range(pl.len()) % 3
)  # every column in use
BUNDLED = Path(__file__).parents[3] / 'football_pred/data/premier_league.csv'
FIXTURES = pl.DataFrame({'home_team': ['team_00', 'nobody'], 'away_team': ['team_01', 'no one']})


def five_seasons():
    if not BUNDLED.exists():
        pytest.skip('football_pred/data/premier_league.csv is not there')
    matches = pl.read_csv(BUNDLED, schema_overrides={'season': pl.String, 'time': pl.String})
    kickoff = pl.col('date').str.to_datetime('%Y-%m-%d', time_zone='UTC', time_unit='us')
    return (
        matches.filter(pl.col('season').is_in(['1516', '1617', '1718', '1819', '1920']))
        .with_columns(kickoff=kickoff)
        .sort('kickoff')
    )


DATA = {'simulated': lambda: MATCHES, 'Premier League': five_seasons}
on_data = pytest.mark.parametrize('name', DATA)


def likelihood_by_match(matches, weights, attack, defence, level, home_advantage, rho):
    "The weighted log-likelihood, one match after the other; `attack` and `defence` are dictionaries."
    total = 0.0
    for row, weight in zip(matches.iter_rows(named=True), weights, strict=True):
        home, away, x, y = row['home_team'], row['away_team'], row['home_goals'], row['away_goals']
        home_rate = np.exp(
            level + home_advantage * (not row.get('neutral')) + attack[home] - defence[away]
        )
        away_rate = np.exp(level + attack[away] - defence[home])
        factor = {
            (0, 0): 1 - home_rate * away_rate * rho,
            (0, 1): 1 + home_rate * rho,
            (1, 0): 1 + away_rate * rho,
            (1, 1): 1 - rho,
        }.get((x, y), 1.0)
        total += weight * (
            poisson.logpmf(x, home_rate) + poisson.logpmf(y, away_rate) + np.log(factor)
        )
    return total


def random_theta(cells, seed, scale=0.2):
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            rng.normal(scale=scale, size=2 * len(cells.teams)),
            rng.normal([0.15, 0.25, -0.05], [0.05, 0.05, 0.04]),
        ]
    )


# Likelihood and derivatives


@pytest.mark.parametrize('matches', [MATCHES, MIXED], ids=['plain', 'neutral and weights'])
def test_tables_give_the_likelihood_of_the_matches(matches):
    cells = build_pair_tables(matches, half_life=150)
    played = read_training_matches(matches)
    theta, size = random_theta(cells, 0), len(cells.teams)
    expected = likelihood_by_match(
        matches,
        played.weight * decay_weights(played.age, 150),
        dict(zip(cells.teams, theta, strict=False)),
        dict(zip(cells.teams, theta[size:], strict=False)),
        *theta[-3:],
    )
    assert log_likelihood(theta, cells) == pytest.approx(expected, rel=1e-12)
    assert derivatives(theta, cells).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('matches', [MATCHES, MIXED], ids=['plain', 'neutral and weights'])
def test_gradient(matches, seed):
    cells = build_pair_tables(matches, half_life=300)
    theta = random_theta(cells, seed)
    numerical = np.array(
        [log_likelihood(theta + 1e-30j * step, cells).imag / 1e-30 for step in np.eye(len(theta))]
    )
    exact = derivatives(theta, cells).gradient
    assert np.abs(exact - numerical).max() < 1e-12 * np.abs(exact).max()


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('matches', [MATCHES, MIXED], ids=['plain', 'neutral and weights'])
def test_hessian(matches, seed):
    cells = build_pair_tables(matches, half_life=300)
    theta, step = random_theta(cells, seed), 1e-5
    numerical = np.array(
        [
            derivatives(theta + step * e, cells).gradient
            - derivatives(theta - step * e, cells).gradient
            for e in np.eye(len(theta))
        ]
    ) / (2 * step)
    exact = derivatives(theta, cells).hessian
    assert np.array_equal(exact, exact.T)
    assert np.abs(exact - numerical).max() < 1e-8 * np.abs(exact).max()


@pytest.mark.parametrize('ridge', [0, 3])
def test_derivatives_of_the_objective(ridge):
    cells = build_pair_tables(MIXED, half_life=300)
    prior, theta, step = build_prior(cells, ridge, -0.3), random_theta(cells, 1), 1e-5
    at = penalised_log_likelihood(theta, cells, prior)
    ahead, behind = (
        [
            penalised_log_likelihood(theta + sign * step * e, cells, prior)
            for e in np.eye(len(theta))
        ]
        for sign in (1, -1)
    )
    gradient = np.array(
        [(a.value - b.value) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
    )
    hessian = np.array(
        [(a.gradient - b.gradient) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
    )
    assert np.abs(at.gradient - gradient).max() < 1e-6 * np.abs(at.gradient).max()
    assert np.abs(at.hessian - hessian).max() < 1e-8 * np.abs(at.hessian).max()


def test_outside_the_region():
    cells = build_pair_tables(MATCHES)
    theta = random_theta(cells, 0)
    theta[-1] = 1.5
    assert log_likelihood(theta, cells) == derivatives(theta, cells).value == -np.inf


def test_cells_add_up():
    cells = build_pair_tables(MIXED, half_life=None)
    assert cells.weight.sum() == pytest.approx(MIXED['weight'].sum())
    for side, name in enumerate(('home_goals', 'away_goals')):
        assert cells.goals[side].sum() == pytest.approx((MIXED['weight'] * MIXED[name]).sum())
    assert cells.matches.sum() == 2 * len(MIXED)
    met = MIXED.group_by('neutral', 'home_team', 'away_team').agg(pl.col('weight').sum())
    assert len(cells) == met.height
    for neutral, home, away, weight in met.iter_rows():
        assert cells.weight[
            int(neutral), cells.teams.index(home), cells.teams.index(away)
        ] == pytest.approx(weight)


def test_ageing_multiplies_every_table():
    "A later moment scales the tables, so without a prior the estimate stays where it is."
    later = MATCHES['kickoff'].max() + timedelta(days=100)
    now, then = (
        build_pair_tables(MATCHES, half_life=100),
        build_pair_tables(MATCHES, as_of=later, half_life=100),
    )
    for name in ('weight', 'goals', 'low_scores', 'log_factorials'):
        assert np.allclose(getattr(then, name), getattr(now, name) / 2, rtol=1e-12)
    free = build_prior(now, 0, 0)
    assert np.allclose(
        maximise_likelihood(now, free).theta, maximise_likelihood(then, free).theta, atol=1e-7
    )


# The maximum


@on_data
@pytest.mark.parametrize('half_life', [None, 346.57359])
def test_at_least_as_likely_as_penaltyblog(name, half_life):
    "penaltyblog writes the log rates as attack + defence + home advantage, so its defence is minus ours less the level."
    penaltyblog = pytest.importorskip('penaltyblog')
    matches = DATA[name]()
    played = read_training_matches(matches)
    weights = decay_weights(played.age, half_life)
    model = DixonColes(half_life=half_life, ridge=0).fit(matches)
    ours = likelihood_by_match(
        matches,
        weights,
        dict(zip(model.teams_, model.attack_, strict=True)),
        dict(zip(model.teams_, model.defence_, strict=True)),
        model.level_,
        model.home_advantage_,
        model.rho_,
    )
    columns = [
        matches[name].to_numpy() for name in ('home_goals', 'away_goals', 'home_team', 'away_team')
    ]
    reference = penaltyblog.models.DixonColesGoalModel(*columns, weights)
    reference.fit()
    found = reference.get_params()
    attack, defence = (
        {team: sign * found[f'{kind}_{team}'] for team in model.teams_}
        for kind, sign in (('attack', 1), ('defence', -1))
    )
    theirs = likelihood_by_match(
        matches, weights, attack, defence, 0.0, found['home_advantage'], found['rho']
    )
    assert theirs == pytest.approx(reference.loglikelihood, abs=1e-6)  # the same formula
    assert ours == pytest.approx(model.log_likelihood_, abs=1e-6)
    assert ours >= theirs - 1e-6


@on_data
@pytest.mark.parametrize('ridge', [0, 6])
def test_it_is_the_maximum(name, ridge):
    cells = build_pair_tables(DATA[name](), half_life=300)
    prior = build_prior(cells, ridge, -0.2)
    best = maximise_likelihood(cells, prior)
    at = penalised_log_likelihood(best.theta, cells, prior)
    assert np.abs(at.gradient).max() < 1e-6
    assert np.linalg.eigvalsh(at.hessian).max() < 0
    assert best.n_iterations <= 6
    rng = np.random.default_rng(0)
    for scale in (1e-3, 0.05):
        for _ in range(20):
            assert (
                penalised_log_likelihood(
                    best.theta + rng.normal(scale=scale, size=len(best.theta)), cells, prior
                ).value
                < at.value
            )


def test_gauge_costs_no_likelihood():
    cells = build_pair_tables(MATCHES, half_life=300)
    best, size = maximise_likelihood(cells, build_prior(cells, 0, 0)), len(cells.teams)
    assert abs(best.theta[:size].sum()) < 1e-9
    assert abs(best.theta[size : 2 * size].sum()) < 1e-9
    moved = best.theta + np.concatenate([np.full(size, 0.1), np.full(size, -0.05), [-0.15, 0, 0]])
    assert log_likelihood(moved, cells) == pytest.approx(best.log_likelihood, abs=1e-9)
    nearly = maximise_likelihood(cells, build_prior(cells, 1e-7, 0))
    assert nearly.log_likelihood == pytest.approx(best.log_likelihood, abs=1e-6)


def test_any_start_ends_at_the_same_place(monkeypatch):
    cells = build_pair_tables(MATCHES, half_life=300)
    prior = build_prior(cells, 6, -0.2)
    expected = maximise_likelihood(cells, prior).theta
    for seed in range(5):
        start = random_theta(cells, seed, scale=1.0)
        start[-1] = 0
        monkeypatch.setattr(
            'football_pred.models.dixon_coles.initial_parameters', lambda cells, start=start: start
        )
        assert np.allclose(maximise_likelihood(cells, prior).theta, expected, atol=1e-6)


def test_steps_are_halved_out_of_the_forbidden_region(monkeypatch):
    "From a start at which a full step leaves the region where every factor is positive."
    cells = build_pair_tables(MATCHES, half_life=300)
    prior = NormalPrior(np.zeros(2 * len(cells.teams) + 3), np.full(2 * len(cells.teams) + 3, 1e-6))
    start = initial_parameters(cells)
    start[-1] = 0.3
    assert np.isfinite(log_likelihood(start, cells))
    start[-3] = -2.0  # rates far too low: the first full step overshoots
    full = start - np.linalg.solve(
        penalised_log_likelihood(start, cells, prior).hessian,
        penalised_log_likelihood(start, cells, prior).gradient,
    )
    assert (
        not penalised_log_likelihood(full, cells, prior).value
        > penalised_log_likelihood(start, cells, prior).value
    )
    monkeypatch.setattr('football_pred.models.dixon_coles.initial_parameters', lambda cells: start)
    best = maximise_likelihood(cells, prior)
    assert np.abs(penalised_log_likelihood(best.theta, cells, prior).gradient).max() < 1e-6


def test_not_converged_says_so():
    cells = build_pair_tables(MATCHES)
    with pytest.raises(
        NotConverged, match=r'No maximum after 1 steps on .* cells: log-likelihood -'
    ):
        maximise_likelihood(cells, build_prior(cells, 6, 0), max_iterations=1)


# What it recovers


@pytest.fixture(scope='module')
def long():
    strengths = sample_strengths(16, seed=11)
    return strengths, sample_matches(
        strengths,
        n_seasons=40,
        intercept=0.1,
        home_advantage=0.3,
        rho=-0.1,
        start_year=1980,
        seed=11,
    )


def test_parameters_are_recovered(long):
    strengths, matches = long
    model = DixonColes(half_life=None, ridge=0).fit(matches)
    assert model.home_advantage_ == pytest.approx(0.3, abs=0.04)
    assert model.level_ == pytest.approx(0.1, abs=0.04)
    assert model.rho_ == pytest.approx(-0.1, abs=0.03)
    assert np.abs(model.attack_ - strengths['attack'].to_numpy()).max() < 0.08
    assert np.abs(model.defence_ - strengths['defence'].to_numpy()).max() < 0.08


def test_neutral_matches_do_not_dilute_the_home_advantage(long):
    "Half of the matches are played again at a neutral venue, with goals of that: the estimate stays."
    strengths, matches = long
    neutral = sample_matches(
        strengths,
        n_seasons=40,
        intercept=0.1,
        home_advantage=0.0,
        rho=-0.1,
        start_year=1980,
        seed=12,
    ).with_columns(neutral=True)
    both = pl.concat([matches, neutral])
    assert DixonColes(half_life=None).fit(both).home_advantage_ == pytest.approx(0.3, abs=0.04)
    assert DixonColes(half_life=None).fit(
        both.with_columns(neutral=False)
    ).home_advantage_ == pytest.approx(0.15, abs=0.04)


def test_decay_forgets():
    "A club that was strong long ago and weak lately is weak with decay."
    teams = [f'team_{i:02d}' for i in range(6)]
    rising = pl.DataFrame({'team': teams, 'attack': [0.6, 0, 0, 0, 0, 0], 'defence': [0.0] * 6})
    falling = rising.with_columns(attack=-pl.col('attack'))
    matches = pl.concat(
        [
            sample_matches(rising, n_seasons=10, start_year=2000, seed=1),
            sample_matches(falling, n_seasons=3, start_year=2010, seed=2),
        ]
    )
    assert DixonColes(half_life=300).fit(matches).attack_[0] < -0.15
    assert DixonColes(half_life=None).fit(matches).attack_[0] > 0.1


def test_the_ridge_pulls_to_the_prior():
    few = MATCHES.tail(30)
    spread = [
        float(np.abs(DixonColes(ridge=ridge).fit(few).attack_).max())
        for ridge in (0.5, 5, 50, 5000)
    ]
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < 0.01


# Newcomers


def calendar(*rows):
    "A frame of (day, home, away), 1-1 each."
    start = datetime(2020, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            'kickoff': [start + timedelta(days=day) for day, *_ in rows],
            'home_team': [home for _, home, _ in rows],
            'away_team': [away for *_, away in rows],
            'home_goals': 1,
            'away_goals': 1,
        }
    )


def new(matches, **options):
    cells = build_pair_tables(matches, **options)
    return {team for team, flag in zip(cells.teams, newcomer_mask(cells), strict=True) if flag}


def test_who_is_a_newcomer():
    always = [(day, 'a', 'b') for day in range(0, 1000, 30)]
    at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=1000)
    assert new(calendar(*always), as_of=at) == set()
    assert (
        new(calendar((0, 'a', 'b'), (5, 'c', 'a'))) == set()
    )  # the data begin here: nobody can tell
    assert new(calendar(*always, (900, 'a', 'c')), as_of=at) == {'c'}  # came 100 days ago
    assert (
        new(calendar(*always, *[(day, 'a', 'c') for day in range(600, 1000, 40)]), as_of=at)
        == set()
    )  # came 400 days ago
    assert new(calendar(*always, (10, 'a', 'c'), (950, 'a', 'c')), as_of=at) == {
        'c'
    }  # was away and came back
    assert new(calendar(*always, (10, 'a', 'c'), (600, 'b', 'c')), as_of=at) == {
        'c'
    }  # has been away since
    assert (
        new(
            calendar(*always, (10, 'a', 'c'), (290, 'a', 'c'), (560, 'a', 'c'), (830, 'c', 'a')),
            as_of=at,
        )
        == set()
    )  # never away for 300 days


def test_newcomers_are_drawn_to_their_prior():
    old = MATCHES.filter(pl.col('season') != '2425')
    first_week = pl.concat([old, MATCHES.filter(pl.col('season') == '2425').head(6)])
    model = DixonColes(ridge=20, newcomer=-0.5).fit(first_week)
    table = model.strengths()
    came = set(first_week.tail(6)['home_team']) | set(first_week.tail(6)['away_team'])
    came -= set(MATCHES.filter(pl.col('season') == '2324')['home_team'])
    assert len(came) == 2
    assert table.filter(pl.col('team').is_in(list(came)))['newcomer'].all()
    assert (
        table.filter(pl.col('team').is_in(list(came)))['attack'].max()
        < table.filter(~pl.col('newcomer'))['attack'].mean() - 0.25
    )
    assert (model.matches_ >= 1).all()
    assert model.unseen_ == -0.5


def test_strengths_table():
    model = DixonColes().fit(MATCHES)
    table = model.strengths()
    assert table.columns == ['team', 'attack', 'defence', 'matches', 'weight', 'newcomer']
    assert table['matches'].sum() == 2 * len(MATCHES)
    assert table['weight'].sum() == pytest.approx(
        2 * decay_weights(read_training_matches(MATCHES).age, 300).sum()
    )


# Next to nothing


def league(scores, rounds=1, **columns):
    "Six teams, everyone against everyone; `scores` gives the score of the k-th match."
    pairs = [(h, a) for _ in range(rounds) for h in 'ABCDEF' for a in 'ABCDEF' if h != a]
    x, y = zip(*(scores(k) for k in range(len(pairs))), strict=True)
    start = datetime(2025, 1, 1, tzinfo=UTC)
    frame = {
        'home_team': [h for h, _ in pairs],
        'away_team': [a for _, a in pairs],
        'home_goals': x,
        'away_goals': y,
    }
    frame['kickoff'] = [start + timedelta(hours=6 * k) for k in range(len(pairs))]
    return pl.DataFrame(frame).with_columns(
        **{name: pl.lit(value) for name, value in columns.items()}
    )


rng = np.random.default_rng(0)
usual = rng.poisson(1.3, size=(400, 2)).tolist()
ODD = {
    'one match': league(lambda k: (1, 0)).head(1),
    'three matches': league(lambda k: [(1, 0), (2, 2), (0, 3)][k % 3]).head(3),
    'no draws ever': league(lambda k: (1 + k % 3, 0) if k % 2 else (0, 1), rounds=4),
    'only 1-0 and 0-1': league(lambda k: (k % 2, 1 - k % 2), rounds=10),
    'only 1-1': league(lambda k: (1, 1), rounds=10),
    'only 0-0': league(lambda k: (0, 0), rounds=4),
    'a 10-0': league(lambda k: (10, 0) if k == 7 else usual[k]),
    'all neutral': league(lambda k: usual[k], neutral=True),
    'two leagues that never met': pl.concat(
        [
            (part := league(lambda k: usual[k])),
            part.with_columns(pl.col('home_team', 'away_team').str.to_lowercase()),
        ]
    ),
    'tiny weights': league(lambda k: usual[k], weight=1e-12),
    'huge weights': league(lambda k: usual[k], weight=1e9),
}


@pytest.mark.parametrize('name', ODD)
def test_odd_data_give_sane_probabilities(name):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = DixonColes().fit(ODD[name])
        forecast = model.predict_proba(
            pl.DataFrame({'home_team': ['A', 'X', 'A'], 'away_team': ['B', 'Y', 'X']})
        )
    assert np.isfinite(model.attack_).all()
    assert model.converged_
    assert np.abs(forecast.sum(axis=1) - 1).max() < 1e-9
    assert (forecast > 0.001).all()


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('one match', 'B has scored no goal'),
        ('only 0-0', 'A has scored no goal'),
        ('no draws ever', 'No maximum after'),
        ('only 1-1', 'No maximum after'),
        ('two leagues that never met', 'cells do not determine'),
    ],
)
def test_without_a_ridge_odd_data_are_refused(name, message):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(ValueError, match=message):
            DixonColes(ridge=0).fit(ODD[name])


def test_all_neutral_without_a_ridge():
    model = DixonColes(ridge=0).fit(ODD['all neutral'])
    assert model.home_advantage_ == 0


@pytest.mark.parametrize('weight', [0.0, 1e-320])
def test_no_weight_is_refused(weight):
    matches = league(lambda k: usual[k], weight=weight)
    if weight:
        matches = matches.with_columns(kickoff=pl.col('kickoff') - timedelta(days=100_000))
    with pytest.raises(ValueError, match='sum to 0'):
        DixonColes(half_life=1).fit(matches, as_of=datetime(2026, 1, 1, tzinfo=UTC))


def test_overflowing_weights_are_refused():
    with pytest.raises(NotConverged, match='at the start'), np.errstate(all='ignore'):
        DixonColes().fit(league(lambda k: usual[k], weight=4e306))


def test_unknown_against_unknown():
    model = DixonColes().fit(MATCHES)
    home_rate, away_rate = model.predict_rates(FIXTURES)[1]
    assert home_rate == pytest.approx(np.exp(model.level_ + model.home_advantage_))
    assert away_rate == pytest.approx(np.exp(model.level_))


def test_cells_are_not_changed():
    cells = build_pair_tables(MATCHES, half_life=300)
    before = {
        field.name: np.copy(getattr(cells, field.name)) for field in dataclasses.fields(cells)
    }
    maximise_likelihood(cells, build_prior(cells, 6, -0.2))
    assert all(np.array_equal(before[name], getattr(cells, name)) for name in before)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cells.weight = None
