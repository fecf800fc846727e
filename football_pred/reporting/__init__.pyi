from .tables_and_checks import Check as Check
from .tables_and_checks import run_checks as run_checks
from .tables_and_checks import format_table as format_table
from .plots import plot_forecasts as plot_forecasts
from .plots import plot_score_grid as plot_score_grid
from .plots import plot_final_positions as plot_final_positions
