"Fitted models for tests of the registry, also imported by other processes."

from datetime import UTC, datetime
from pathlib import Path

from football_pred.core.sample_league import sample_matches, sample_strengths
from football_pred.models.base_rate import BaseRate
from football_pred.models.dixon_coles import DixonColes
from football_pred.models.serialization import pack_model, packed_model_version
from football_pred.models.stacked_ratings import StackedRatings
from football_pred.registry.mlflow_client import TrialResults
from football_pred.registry.registry import Registry

MATCHES = sample_matches(sample_strengths(8, seed=2), n_seasons=2, seed=2)
AS_OF = MATCHES['result_known_at'].max().isoformat()
FIXTURES = MATCHES.select('home_team', 'away_team', 'league', 'season', 'neutral').head(20)
MODELS = {
    'SIM-base-rate': BaseRate().fit(MATCHES),
    'SIM-dixon-coles': DixonColes().fit(MATCHES),
    'SIM-goals-only': StackedRatings().fit(MATCHES),
}
NOW = datetime(2026, 4, 1, tzinfo=UTC)
VERSIONS = {
    name: packed_model_version(pack_model(model, name, {'as_of': AS_OF}))
    for name, model in MODELS.items()
}


def embedded_registry(home: Path) -> dict:
    "Options of a registry whose MLflow is a file."
    return {
        'uri': f'sqlite:///{home}/mlflow.db',
        'artifacts': str(home / 'artifacts'),
        'copies': home / 'models',
    }


def register(registry: Registry, name: str, league: str = 'SIM') -> str:
    "Register one of MODELS with a trial of two months; returns its digest."
    results = TrialResults(
        {'rps': 0.2, 'matches': 60},
        [{'rps': 0.21}, {'rps': 0.19}],
        {'run_id': 'r'},
        {'tables/verdict.json': b'{}'},
    )
    return registry.versions.register(league, MODELS[name], name, {'as_of': AS_OF}, results).version
