"A checkout with one job, `work`, whose cells a test writes."

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def wait_for(condition: Callable[[], Any], seconds: float = 240) -> Any:
    "Wait until a condition holds, and return its value."
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, 'waited too long'
        threading.Event().wait(0.02)
    return value
