from .scoring import score_forecasts as score_forecasts
from .scoring import score_table as score_table
from .backtest import walk_forward as walk_forward
from .backtest import market_forecasts as market_forecasts
from .leakage import assert_no_leakage as assert_no_leakage
