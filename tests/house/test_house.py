"The house is in order: notebooks, library and README agree, imports point down, the lock is current."

import ast
import filecmp
import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from papermill.translators import PythonTranslator

from football_pred.jobs.job_spec import check_params, load_job, read_params
from football_pred.jobs.schedule import Project, check_shared_defaults, load_schedule
from tests.support.schedule import LONG, SHARED
from tools.house import LIBRARY, ROOT, imported_modules, is_below, read_modules, source_of
from tools.readme import readme

TOOLS = Path(sys.executable).parent  # Scripts of this environment, whether or not it is activated
READ_SETTINGS = {'api', 'events', 'metrics', 'jobs', 'cli'}
LARGEST_NOTEBOOK = 90  # cells
MODULES = read_modules()
NOTEBOOKS = sorted((ROOT / 'nbs').rglob('*.ipynb'))
JOBS = sorted(path.stem for path in (ROOT / 'nbs/jobs').glob('*.ipynb'))


def files(root: Path, pattern: str) -> list[Path]:
    return sorted(
        path.relative_to(root)
        for path in root.rglob(pattern)
        if not {'__pycache__', '.ipynb_checkpoints'} & set(path.parts)
    )


@pytest.fixture
def exported(tmp_path):
    "Notebooks, settings and the handwritten migrations: a module without a notebook is missing here."
    shutil.copytree(
        ROOT / 'nbs', tmp_path / 'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints')
    )
    shutil.copy(ROOT / 'settings.ini', tmp_path)
    shutil.copytree(
        LIBRARY / 'migrations',
        tmp_path / 'football_pred/migrations',
        ignore=shutil.ignore_patterns('__pycache__'),
    )
    return tmp_path


def test_library_is_what_the_notebooks_export(exported):
    subprocess.run([TOOLS / 'nbdev_export'], cwd=exported, check=True)
    assert files(LIBRARY, '*.py') == files(exported / 'football_pred', '*.py')
    _, differ, errors = filecmp.cmpfiles(
        LIBRARY, exported / 'football_pred', files(LIBRARY, '*.py'), shallow=False
    )
    assert (differ, errors) == ([], [])


def test_notebooks_are_clean(exported):
    subprocess.run([TOOLS / 'nbdev_clean'], cwd=exported, check=True)
    _, differ, errors = filecmp.cmpfiles(
        ROOT / 'nbs', exported / 'nbs', files(ROOT / 'nbs', '*.ipynb'), shallow=False
    )
    assert (differ, errors) == ([], [])


def test_readme_is_the_index():
    assert (ROOT / 'README.md').read_text() == readme()


@pytest.mark.parametrize('module', MODULES)
def test_imports_point_down(module):
    if module.endswith('__init__'):
        return  # the face of a package, which imports at first use
    imports = imported_modules(module, MODULES)
    assert [name for name in imports if not is_below(name, module, MODULES)] == []


@pytest.mark.parametrize('module', MODULES)
def test_module_stands_where_its_notebook_says(module):
    assert module.split('.')[0] == MODULES[module][0]


@pytest.mark.parametrize(
    'module',
    [
        name
        for name, (package, _) in MODULES.items()
        if package not in READ_SETTINGS and name != 'core.settings'
    ],
)
def test_settings_are_read_at_the_edge(module):
    assert 'core.settings' not in imported_modules(module, MODULES)


@pytest.mark.parametrize(
    'module', [name for name, (package, _) in MODULES.items() if package not in ('jobs', 'cli')]
)
def test_the_clock_is_a_parameter(module):
    calls = [
        f'{node.func.value.id}.{node.func.attr}'
        for node in ast.walk(ast.parse(source_of(module)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
    ]
    clocks = {'datetime.now', 'datetime.utcnow', 'datetime.today', 'date.today'}
    assert not clocks & set(calls)


@pytest.mark.parametrize('module', MODULES)
def test_production_imports_no_development_tool(module):
    assert not re.search(
        r'^\s*(import|from) (nbdev|fastcore|execnb|IPython\.testing)\b', source_of(module), re.M
    )


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_small(path):
    assert len(json.loads(path.read_text())['cells']) <= LARGEST_NOTEBOOK


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'params').glob('*.yaml')), ids=lambda path: path.stem
)
def test_params_are_known(path):
    if path.stem == 'schedule':
        assert load_schedule(ROOT).pipelines
    elif path.stem == 'defaults':
        assert check_shared_defaults(Project(ROOT))
    else:
        job = load_job(ROOT, path.stem)
        assert check_params(job, read_params(ROOT, job), path.name)


@pytest.mark.parametrize('name', JOBS)
def test_job_notebook_has_its_parts(name):
    "papermill sees the same parameters; the last cell is the checks; the notebook keeps no outputs."
    path = ROOT / 'nbs/jobs' / f'{name}.ipynb'
    cells = json.loads(path.read_text())['cells']
    seen = PythonTranslator.inspect(nbformat.read(path, as_version=4).cells[1])
    assert {one.name: one.inferred_type_name for one in seen} == {
        one.name: one.annotation for one in load_job(ROOT, name).parameters.values()
    }
    assert 'as_of' in load_job(ROOT, name).parameters
    assert cells[-1]['metadata'].get('tags') == ['checks']
    assert not any(cell.get('outputs') for cell in cells)
    assert (ROOT / 'params' / f'{name}.yaml').exists()


@pytest.mark.parametrize('name', load_schedule(ROOT).parts)
def test_job_in_parts_has_the_cell_that_computes_them(name):
    cells = json.loads((ROOT / 'nbs/jobs' / f'{name}.ipynb').read_text())['cells']
    assert [cell['metadata'].get('tags', []) for cell in cells].count(['parts']) == 1
    assert 'part' in load_job(ROOT, name).parameters


def test_every_job_is_in_the_schedule():
    assert set(load_schedule(ROOT).needs) == set(JOBS)


PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
LOCKED = {
    canonicalize_name(name): pin
    for name, pin in re.findall(
        r'^([A-Za-z0-9._-]+)==(\S+)', (ROOT / 'requirements.lock').read_text(), re.M
    )
}


def test_lock_holds_every_dependency():
    wanted = [
        Requirement(text)
        for text in chain(PROJECT['dependencies'], *PROJECT['optional-dependencies'].values())
    ]
    assert [
        str(one)
        for one in wanted
        if not one.specifier.contains(
            LOCKED.get(canonicalize_name(one.name), '0.dev0'), prereleases=True
        )
    ] == []


def test_this_environment_is_the_locked_one():
    wanted = [Requirement(text).name for text in PROJECT['dependencies']]
    assert {name: version(name) for name in wanted} == {
        name: LOCKED[canonicalize_name(name)] for name in wanted
    }


def test_ci_runs_the_test_command_of_the_readme():
    for part in ("pip install -c requirements.lock -e '.[dev]'", 'pytest -n 2 --dist loadfile'):
        assert part in (ROOT / 'README.md').read_text()
        assert part in (ROOT / '.ci/run').read_text()


@pytest.mark.parametrize(
    'command',
    [
        ['ruff', 'check', 'football_pred', 'nbs', 'tests', 'tools'],
        ['ruff', 'format', '--check', 'nbs', 'tests', 'tools'],
        ['mypy'],
    ],
    ids=lambda command: '-'.join(command[:2]),
)
def test_static_checks_pass(command):
    result = subprocess.run(
        [TOOLS / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_files_with_a_place_in_the_order_exist():
    assert [name for name in (*LONG, *SHARED) if not (ROOT / 'tests' / name).exists()] == []


def test_yaml_files_have_no_secrets():
    for path in (ROOT / 'params').glob('*.yaml'):
        assert not re.search(
            r'(?i)\b(password|secret|token|api_key)\b', yaml.dump(yaml.safe_load(path.read_text()))
        )
