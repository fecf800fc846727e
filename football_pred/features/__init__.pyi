from .build import FEATURES as FEATURES
from .build import build_features as build_features
from .build import feature_table as feature_table
from .feast_store import FeatureStore as FeatureStore
from .feast_store import open_feature_store as open_feature_store
from .feast_store import get_online_features as get_online_features
from .feast_store import get_historical_features as get_historical_features
