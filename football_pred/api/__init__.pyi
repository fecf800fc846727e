from .app import create_app as create_app
from .forecast_service import ForecastService as ForecastService
