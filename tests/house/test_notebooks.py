"Every notebook that nbdev tests can be executed, each in a process of its own."

import subprocess

import pytest

from tests.support.warm import warm_notebook
from tools.house import ROOT

NOTEBOOKS = [
    path
    for path in sorted((ROOT / 'nbs').rglob('*.ipynb'))
    if '.ipynb_checkpoints' not in path.parts and not (path.parent / '.notest').exists()
]


@pytest.mark.parametrize(
    'path', NOTEBOOKS, ids=lambda path: str(path.relative_to(ROOT / 'nbs').with_suffix(''))
)
def test_notebook_runs(path):
    result = subprocess.run(
        [*warm_notebook(), str(path)], cwd=ROOT / 'nbs', capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
