"A checkout with one job, `work`, whose cells a test writes."

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

PARAMETERS = "as_of: str = '2026-03-01T00:00Z'  # Logical time\ntimes: int = 1  # How often"


def create_project(folder: Path) -> Path:
    "Create the folders of a checkout without jobs."
    for name in ('nbs/jobs', 'params', 'football_pred'):
        (folder / name).mkdir(parents=True)
    (folder / 'params/schedule.yaml').write_text('needs: {}\npipelines: {}\n')
    return folder


def write_job(project: Path, *cells: str, name: str = 'work') -> None:
    "Write a job of a parameters cell and the given ones."
    parameters = new_code_cell(PARAMETERS, metadata={'tags': ['parameters']})
    notebook = new_notebook(cells=[parameters, *map(new_code_cell, cells)])
    nbformat.write(notebook, project / f'nbs/jobs/{name}.ipynb')
