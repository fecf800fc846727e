from .predict import forecast_fixtures as forecast_fixtures
from .predict import upcoming_fixtures as upcoming_fixtures
from .ledger import append_forecasts as append_forecasts
from .ledger import settle_forecasts as settle_forecasts
from .ledger_verification import verify_ledger as verify_ledger
from .season_simulation import simulate_season as simulate_season
from .season_simulation import simulate_rest_of_season as simulate_rest_of_season
from .standings import league_table as league_table
