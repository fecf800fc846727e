"""Draws the picture of the README from the bundled results: python tools/readme_picture.py

It collects and loads two seasons into a database in memory, fits Dixon-Coles as of 1 April 2026,
simulates the rest of the season and writes nbs/images/final_positions.svg.
"""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import matplotlib

from football_pred.core.as_of import read_matches
from football_pred.core.database import open_database
from football_pred.forecasts.season_simulation import simulate_rest_of_season
from football_pred.ingest.collect import collect_payloads
from football_pred.ingest.load import load_new_payloads
from football_pred.ingest.sources import create_source
from football_pred.models.dixon_coles import DixonColes
from football_pred.reporting.plots import plot_final_positions

AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
SEASONS = ('2324', '2425', '2526')
PICTURE = Path(__file__).parents[1] / 'nbs/images/final_positions.svg'


def read_bundled_matches(folder: Path):
    "Matches of the bundled seasons, as known at `AS_OF`."
    engine = open_database(f'sqlite:///{folder}/football.db')
    source = create_source('bundled')
    collect_payloads(engine, folder, source, ['E0'], SEASONS, clock=lambda: AS_OF)
    load_new_payloads(engine, folder, {'bundled': source})
    return read_matches(engine, AS_OF, ['E0'])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        matches = read_bundled_matches(Path(folder))
    model = DixonColes(half_life=365).fit(matches.filter(status='finished'))
    season = matches.filter(season=SEASONS[-1])
    simulated = simulate_rest_of_season(season, 'E0', model, simulations=10_000)
    matplotlib.rcParams['svg.hashsalt'] = 'football_pred'
    PICTURE.parent.mkdir(exist_ok=True)
    plot_final_positions(simulated).savefig(PICTURE, metadata={'Date': None})


if __name__ == '__main__':
    main()
