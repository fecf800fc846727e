"All models, and synthetic matches with all columns of real ones."

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.markets.score_grid import outcome_probabilities, score_grid
from football_pred.models.online_dixon_coles import OnlineDixonColes
from football_pred.models.serialization import MODEL_CLASSES, new_model

PRODUCTS = Path(__file__).parents[2] / 'params/models'
MODELS: dict[str, Any] = {
    name: new_model(name, products_folder=PRODUCTS)
    for name in (*MODEL_CLASSES, *(path.stem for path in sorted(PRODUCTS.glob('*.yaml'))))
}
MODELS['OnlineDixonColes'] = OnlineDixonColes()  # not stored in the registry, see its notebook


def division(
    league: str, n_teams: int, n_seasons: int, names: list[str], seed: int
) -> pl.DataFrame:
    "Simulate seasons of one league whose clubs have these names."
    matches = sample_matches(
        sample_strengths(n_teams, seed=seed), n_seasons=n_seasons, n_teams=n_teams, seed=seed
    )
    codes = {f'team_{i:02d}': name for i, name in enumerate(names)}
    return matches.with_columns(
        pl.lit(league).alias('league'),
        pl.col('home_team', 'away_team').replace_strict(codes),
        match_id=league + pl.col('match_id'),
    )


def two_divisions(n_teams: int = 8, n_seasons: int = 3, seed: int = 0) -> pl.DataFrame:
    """Simulate two divisions of England and one unknown league, with shots, corners and prices.

    Two clubs change division every season. Some results become known late, some grounds are neutral, some shots and prices are missing."""
    upper = [f'upper {i}' for i in range(n_teams)]
    lower = [f'lower {i}' for i in range(n_teams)]
    frames = []
    divisions = {
        league: division(league, n_teams, n_seasons, names, seed + i)
        for i, (league, names) in enumerate({'E0': upper, 'E1': lower}.items())
    }
    for i, season in enumerate(divisions['E0']['season'].unique().sort()):
        moved = {upper[0]: lower[0], lower[0]: upper[0]} if i % 2 else {}
        frames += [
            frame.filter(season=season).with_columns(
                pl.col('home_team', 'away_team').replace(moved)
            )
            for frame in divisions.values()
        ]
    frames.append(
        division('SIM', n_teams, n_seasons, [f'other {i}' for i in range(n_teams)], seed + 2)
    )
    matches = pl.concat(frames).sort('kickoff', 'match_id').with_row_index('i')
    late = (
        pl.when(pl.col('i') % 13 == 6)
        .then(timedelta(days=9))
        .when(pl.col('i') % 5 == 2)
        .then(timedelta(hours=30))
        .otherwise(timedelta(hours=2))
    )
    matches = matches.with_columns(
        result_known_at=pl.col('kickoff') + late, neutral=pl.col('i') % 17 == 4
    )
    return with_numbers(matches, seed).drop('i')


def with_numbers(matches: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    "Add shots, corners and prices that correlate with the goals."
    rng = np.random.default_rng(seed)
    size = matches.height
    goals = matches.select('home_goals', 'away_goals').to_numpy()
    on_target = goals + rng.poisson(3, goals.shape)
    off_target = rng.poisson(7, goals.shape)
    corners = rng.poisson(3 + goals)
    rates = np.clip((goals + 4) / 4 * rng.uniform(0.8, 1.2, goals.shape), 0.3, 3)
    closing = 0.95 / outcome_probabilities(score_grid(*rates.T, rho=-0.06))
    opening = closing * rng.uniform(0.97, 1.03, closing.shape)
    columns = {
        f'{side}_{name}': values[:, i]
        for name, values in {
            'shots': on_target + off_target,
            'shots_on_target': on_target,
            'corners': corners,
        }.items()
        for i, side in enumerate(('home', 'away'))
    }
    columns |= {
        f'{when}_{outcome}': values[:, i]
        for when, values in {'opening': opening, 'closing': closing}.items()
        for i, outcome in enumerate(('home', 'draw', 'away'))
    }
    is_missing = rng.random(size) < 0.1
    is_unpriced = rng.random(size) < 0.1
    matches = matches.with_columns(pl.Series(name, values) for name, values in columns.items())
    matches = matches.with_columns(
        pl.when(pl.Series(is_missing)).then(None).otherwise(name).alias(name)
        for name in ('home_shots', 'away_corners')
    )
    priced = [name for name in columns if name.startswith(('opening', 'closing'))]
    matches = matches.with_columns(
        pl.when(pl.Series(is_unpriced)).then(None).otherwise(name).alias(name) for name in priced
    )
    known_at = pl.col('kickoff') - pl.duration(hours=pl.Series(rng.integers(1, 60, size)))
    return matches.with_columns(
        opening_known_at=pl.when(pl.col('opening_home').is_not_null()).then(known_at)
    )
