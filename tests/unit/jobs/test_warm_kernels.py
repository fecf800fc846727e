"Kernels forked from a process with their imports: what jobs see of it, and what happens when it fails."

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from football_pred.core.database import open_database
from football_pred.core.job_runs import find_process, recent_runs
from football_pred.core.settings import Settings
from football_pred.jobs import runner, warm_kernels
from football_pred.jobs.pipelines import run_pipeline
from football_pred.jobs.warm_kernels import fork_server, notebook_modules
from tests.support.job_project import create_project, write_job
from tests.support.server import wait_until

ROOT = Path(__file__).parents[3]
JOBS = sorted((ROOT / 'nbs/jobs').glob('*.ipynb'))


@pytest.fixture
def project(tmp_path):
    return create_project(tmp_path / 'project')


@pytest.fixture
def settings(project, tmp_path):
    return Settings(home=tmp_path / 'home', project=project, heartbeat_seconds=0.1, job_retries=1)


@pytest.fixture
def engine(settings):
    return open_database(settings.database_dsn)


@pytest.fixture
def module_folder(tmp_path, monkeypatch):
    "A folder of modules that a new fork server finds."
    folder = tmp_path / 'modules'
    folder.mkdir()
    fork_server().close()
    paths = [str(folder), os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(filter(None, paths)))
    yield folder
    fork_server().close()


def run(settings, engine):
    (step,) = run_pipeline(settings, engine, 'work', force=True)
    return step.run


def shown(run, settings) -> dict:
    "What the last cell of a run printed as JSON."
    notebook = json.loads(run.report.with_suffix('.ipynb').read_text())
    (output,) = notebook['cells'][-1]['outputs']
    return json.loads(''.join(output['text']))


FACTS = """
import json, os, sys
print(json.dumps({
    'parent': os.getppid(),
    'session': os.getsid(0) == os.getpid(),
    'run': os.environ['FOOTBALL_RUN_ID'],
    'folder': os.getcwd(),
    'left': os.environ.get('LEFT', ''),
    'csv': getattr(sys.modules.get('csv'), 'changed', False),
}))
"""


def test_kernels_share_imports_and_nothing_else(settings, engine, project):
    write_job(project, "import csv, os; csv.changed = True; os.environ['LEFT'] = 'a mark'", FACTS)
    first = run(settings, engine)
    assert shown(first, settings)['csv'] is True
    write_job(project, 'import csv', FACTS)
    second = run(settings, engine)
    facts = shown(second, settings)
    assert facts == {
        'parent': fork_server().running.process.pid,
        'session': True,
        'run': second.run_id,
        'folder': str(settings.home),
        'left': '',
        'csv': False,
    }
    assert facts['parent'] == shown(first, settings)['parent']


def test_plain_kernels_are_a_setting(settings, engine, project):
    write_job(project, FACTS)
    plain = settings.model_copy(update={'warm_kernels': False})
    assert shown(run(plain, engine), settings)['parent'] == os.getpid()


def test_modules_are_imported_before_the_kernel_starts(settings, engine, project, module_folder):
    (module_folder / 'imported_early.py').write_text('import os\n\nPID = os.getpid()\n')
    write_job(project, 'import imported_early', 'print(imported_early.PID)')
    assert shown(run(settings, engine), settings) == fork_server().running.process.pid


def test_a_module_that_fails_is_told_by_the_notebook(settings, engine, project, module_folder):
    (module_folder / 'broken_module.py').write_text("raise ValueError('it is broken')")
    write_job(project, 'import broken_module')
    ended = run(settings, engine)
    assert (ended.state, ended.error) == ('failed', 'it is broken')


def test_after_a_dead_server_comes_another(settings, engine, project):
    write_job(project, FACTS)
    dead = shown(run(settings, engine), settings)['parent']
    fork_server().running.process.kill()
    fork_server().running.process.wait()
    facts = shown(run(settings, engine), settings)
    assert facts['parent'] == fork_server().running.process.pid != dead


def test_a_kernel_ends_with_its_server(settings, engine, project):
    write_job(
        project,
        'import os, signal; os.kill(os.getppid(), signal.SIGKILL)',
        'import threading; threading.Event().wait()',
    )
    ended = run(settings.model_copy(update={'job_retries': 0}), engine)
    assert (ended.state, recent_runs(engine)[0]['error_type']) == ('failed', 'DeadKernelError')
    write_job(project, '1')
    assert run(settings, engine).state == 'succeeded'


def test_without_a_server_kernels_are_plain_and_it_is_said(settings, engine, project, monkeypatch):
    fork_server().close()
    monkeypatch.setattr(warm_kernels, 'MODULE', 'no.such.module')
    write_job(project, FACTS)
    with pytest.warns(UserWarning, match='gave no kernel.*a plain kernel is started'):
        ended = run(settings, engine)
    assert shown(ended, settings)['parent'] == os.getpid()
    fork_server().close()


def test_a_server_with_a_pool_of_threads_does_not_fork(settings, engine, project, module_folder):
    (module_folder / 'asks_early.py').write_text(
        "import polars as pl\n\npl.DataFrame({'a': range(9)}).lazy().sort('a').collect()\n"
    )
    write_job(project, 'import asks_early', FACTS)
    with pytest.warns(UserWarning, match='threads .*polars.* are at work; a plain kernel'):
        ended = run(settings, engine)
    assert shown(ended, settings)['parent'] == os.getpid()


def test_plots_are_in_the_report(settings, engine, project):
    write_job(project, 'import matplotlib.pyplot as plt', 'plt.plot([1, 3, 2]);')
    notebook = json.loads(run(settings, engine).report.with_suffix('.ipynb').read_text())
    (output,) = notebook['cells'][-1]['outputs']
    assert 'image/png' in output['data']


def test_a_killed_runner_leaves_no_process(settings, engine, project, tmp_path):
    here = tmp_path / 'here'
    write_job(
        project,
        f'import os; from pathlib import Path; Path({str(here)!r}).write_text(str(os.getppid()))',
        'import threading; threading.Event().wait()',
    )
    env = os.environ | {
        'FOOTBALL_HOME': str(settings.home),
        'FOOTBALL_PROJECT': str(settings.project),
    }
    code = 'from football_pred.cli import main; main()'
    runner = subprocess.Popen([sys.executable, '-c', code, 'run', 'work'], env=env)
    server = int(wait_until(lambda: here.exists() and here.read_text()))
    kernel = recent_runs(engine)[0]['processes'][1]
    runner.kill()
    runner.wait()
    wait_until(lambda: not psutil.pid_exists(server))
    wait_until(lambda: find_process(kernel) is None)


@pytest.mark.parametrize('path', JOBS, ids=lambda path: path.stem)
def test_imports_of_a_job_start_no_pool_of_threads(path):
    "What keeps the fork server able to fork; a module that asks polars something would end it."
    code = (
        'from pathlib import Path\n'
        'from football_pred.jobs.warm_kernels import _import_modules, _working_threads\n'
        f'_import_modules({notebook_modules(path)})\n'
        'print(_working_threads())\n'
    )
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == '[]'


def test_one_server_serves_many_runs(settings, engine, project):
    "Each kernel has pools of its own, and none waits for one that the fork left behind."
    query = "frame.lazy().group_by(pl.col('a') % 7).agg(pl.len()).collect().height"
    write_job(
        project,
        'import polars as pl',
        "frame = pl.DataFrame({'a': range(100_000)})",
        f'assert {query} == 7',
        FACTS,
    )
    parents = {shown(run(settings, engine), settings)['parent'] for _ in range(20)}
    assert parents == {fork_server().running.process.pid}


def test_plain_kernels_are_reported_once_where_a_fork_is_not_safe(
    project, settings, engine, monkeypatch, caplog
):
    write_job(project, 'as_of')
    monkeypatch.setattr(runner, 'FORKS_SAFELY', False)
    runner.report_plain_kernels.cache_clear()
    for _ in range(2):
        assert run(settings, engine).state == 'succeeded'
    (record,) = [record for record in caplog.records if record.name == runner.__name__]
    assert record.levelname == 'WARNING'
    assert 'kernels start without warm imports' in record.getMessage()


def test_plain_kernels_that_were_asked_for_are_not_reported(settings, monkeypatch, caplog):
    monkeypatch.setattr(runner, 'FORKS_SAFELY', False)
    runner.report_plain_kernels.cache_clear()
    plain = settings.model_copy(update={'warm_kernels': False})
    request = SimpleNamespace(row={'run_id': 'work-1', 'key': 'k'}, force=False)
    assert runner.plan_kernel(plain, request).modules is None
    assert caplog.records == []
