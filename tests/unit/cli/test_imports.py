"""What commands, kernels and the server import, counted: imports are most of the time that a short command takes.

A limit is a few modules above what is imported today; a heavy package that slips in adds hundreds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from football_pred.core.database import open_database
from football_pred.core.ledger_log import HeadFile, NewEntry, record_entry
from football_pred.core.light_imports import skip_address_grammar
from football_pred.jobs.warm_kernels import notebook_modules

ROOT = Path(__file__).parents[3]
DRAWS = {'backtest', 'monitor', 'predict', 'settle', 'simulate', 'train'}  # jobs with a figure
WRITES_MODELS = {'train'}
USES_FEAST = {'features'}
LEARNS = ('sklearn', 'statsmodels', 'lightgbm')


def modules_after(code: str, home: Path) -> set[str]:
    "Names of all modules that a child has imported after some code."
    script = f'{code}\nimport json, sys\nprint("\\n" + json.dumps(sorted(sys.modules)))'
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script],
        capture_output=True,
        text=True,
        env=os.environ | {'FOOTBALL_HOME': str(home)},
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def packages(modules: set[str]) -> set[str]:
    return {name.partition('.')[0] for name in modules}


def command(*arguments: str) -> str:
    return (
        'from football_pred.cli import cli\n'
        f'try: cli({list(arguments)!r}, standalone_mode=False)\n'
        'except SystemExit: pass\n'
    )


def store_entry(home: Path) -> None:
    "A ledger with one entry, which `ledger verify` has to read."
    engine = open_database(f'sqlite:///{home}/football.db')
    content = {'model': 'm', 'version': '1', 'league': 'E0'}
    record_entry(
        engine, HeadFile(home / 'ledger-heads.jsonl'), NewEntry('registration', 'm/1', content)
    )
    engine.dispose()


@pytest.mark.parametrize(
    ('arguments', 'limit'),
    [
        (['--help'], 250),
        (['status'], 1000),
        (['runs'], 1000),
        (['ledger', 'verify'], 1000),
        (['models'], 1000),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_commands_that_look_things_up_are_light(arguments, limit, tmp_path):
    store_entry(tmp_path / 'home')
    modules = modules_after(command(*arguments), tmp_path / 'home')
    heavy = {'pandas', 'scipy', 'matplotlib', 'mlflow', 'feast', 'papermill', 'nbconvert', *LEARNS}
    assert packages(modules) & heavy == set()
    assert len(modules) < limit


def test_a_forecast_needs_no_registry_server_and_no_learner(tmp_path):
    modules = modules_after(
        'from football_pred.models import DixonColes\n'
        'from football_pred.core import sample_matches\n'
        'from football_pred.registry.registry import connect_registry\n'
        'model = DixonColes().fit(sample_matches())\n'
        'model.predict_proba(sample_matches()[:1])\n',
        tmp_path / 'home',
    )
    heavy = {'matplotlib', 'mlflow', 'feast', 'papermill', *LEARNS}
    assert packages(modules) & heavy == set()
    assert 'scipy.stats' not in modules


def test_the_server_starts_without_what_only_jobs_use(tmp_path):
    modules = modules_after(
        'from football_pred.api import create_app\n'
        'from football_pred.core.settings import Settings\n'
        'from datetime import UTC, datetime\n'
        'create_app(Settings(), lambda: datetime.now(UTC))\n',
        tmp_path / 'home',
    )
    heavy = {'matplotlib', 'mlflow', 'feast', 'papermill', 'nbconvert', 'great_tables', *LEARNS}
    assert packages(modules) & heavy == set()
    assert 'scipy.stats' not in modules


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'nbs/jobs').glob('*.ipynb')), ids=lambda path: path.stem
)
def test_the_kernel_of_a_job_imports_what_the_job_uses(path, tmp_path):
    modules = modules_after(
        'from football_pred.jobs.warm_kernels import _import_modules\n'
        f'_import_modules({notebook_modules(path)!r})\n',
        tmp_path / 'home',
    )
    found = packages(modules)
    assert ('matplotlib' in found) == (path.stem in DRAWS)
    assert ('mlflow' in found) == (path.stem in WRITES_MODELS)
    assert ('feast' in found) == (path.stem in USES_FEAST)
    assert found & {'statsmodels', 'papermill', 'nbconvert'} == set()


def test_feast_is_imported_without_its_type_checks(tmp_path):
    "The patch that halves its import still works: nothing of Feast is wrapped by typeguard."
    modules = modules_after(
        'from football_pred.features.feast_store import import_feast\n'
        'import typeguard\n'
        'before = typeguard.typechecked\n'
        'import_feast()\n'
        'assert typeguard.typechecked is before\n'
        'from feast.feature_store import FeatureStore\n'
        'assert not hasattr(FeatureStore.apply, "__wrapped__")\n',
        tmp_path / 'home',
    )
    assert 'feast.infra.offline_stores.duckdb' in modules


def test_notebooks_are_read_without_the_grammar_of_addresses(tmp_path):
    skip_address_grammar()
    modules = modules_after(
        'from football_pred.core.light_imports import skip_address_grammar\n'
        'skip_address_grammar()\n'
        'import papermill\n',
        tmp_path / 'home',
    )
    assert 'lark' not in packages(modules)


def test_models_are_saved_without_a_scan_of_every_package(tmp_path):
    modules_after(
        'from pathlib import Path\n'
        'import importlib_metadata\n'
        'def scan(): raise AssertionError("every installed package is read")\n'
        'importlib_metadata.packages_distributions = scan\n'
        'from football_pred.core import sample_matches\n'
        'from football_pred.models import DixonColes\n'
        'from football_pred.models.serialization import pack_model\n'
        'from football_pred.registry.mlflow_client import import_mlflow, save_pyfunc_model\n'
        'import_mlflow()\n'
        'model = DixonColes().fit(sample_matches())\n'
        'content = pack_model(model, "E0-dixon-coles", {})\n'
        f'save_pyfunc_model(Path({str(tmp_path / "model")!r}), content)\n',
        tmp_path / 'home',
    )
    assert (tmp_path / 'model' / 'MLmodel').exists()


def test_a_forecast_of_a_model_that_was_packed_needs_no_scipy(tmp_path):
    packed = ROOT / 'tests/data/packed_dixon_coles.json'
    modules = modules_after(
        'import json\n'
        'from pathlib import Path\n'
        'from football_pred.models.serialization import unpack_model\n'
        f'record = json.loads(Path({str(packed)!r}).read_text())\n'
        'model, _ = unpack_model(record["content"].encode(), record["version"])\n'
        'pairing = {"home_team": [model.teams_[0]], "away_team": [model.teams_[1]]}\n'
        'assert abs(model.predict_proba(pairing).sum() - 1) < 1e-9\n',
        tmp_path / 'home',
    )
    assert packages(modules) & {'scipy', 'pandas', 'mlflow', *LEARNS} == set()
