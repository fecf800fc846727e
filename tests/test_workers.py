"Jobs on workers: real Redis, workers, beat and Flower, and every way an order can go astray."
import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import psutil
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from football_pred.jobs import JobError
from football_pred.pipelines import Plan, plan, run
from football_pred.runs import find_process, recent_runs
from football_pred.settings import Settings
from football_pred.store import open_database
from football_pred.worker import JobFailed, make_app, pack, run_on_workers, send
from tests.conftest import free_port, run_redis
from tests.served import COMMAND, wait_until

PARAMETERS = "as_of: str = '2026-03-01T00:00Z'  # Moment of looking\ntimes: int = 1  # How often"


def write_job(project: Path, name: str, *cells: str, parameters: str = PARAMETERS) -> None:
    notebook = new_notebook(cells=[new_code_cell(parameters, metadata={'tags': ['parameters']}), *map(new_code_cell, cells)])
    nbformat.write(notebook, project/f'nbs/jobs/{name}.ipynb')


def write_schedule(project: Path, **parts) -> None:
    (project/'params/schedule.yaml').write_text(yaml.safe_dump({'needs': {}, 'pipelines': {}} | parts))


@pytest.fixture
def project(tmp_path):
    "A checkout whose jobs a test writes."
    for folder in ('nbs/jobs', 'params', 'football_pred'): (tmp_path/'project'/folder).mkdir(parents=True)
    write_schedule(tmp_path/'project')
    return tmp_path/'project'


@pytest.fixture
def settings(project, tmp_path, redis):
    return Settings(home=tmp_path/'home', project=project, database_url=None, job_timeout=60, heartbeat_seconds=0.1, broker_url=redis[:-1] + '3')


@pytest.fixture
def engine(settings) -> Iterator:
    engine = open_database(settings.database)
    yield engine
    engine.dispose()


def environment(settings: Settings) -> dict[str, str]:
    names = ('home', 'project', 'job_timeout', 'heartbeat_seconds', 'worker_seconds')
    return os.environ | {f'FOOTBALL_{name.upper()}': str(getattr(settings, name)) for name in names} | {'FOOTBALL_BROKER_URL': settings.broker}


@contextmanager
def started(settings: Settings, *arguments: str, until: str, **changes: str) -> Iterator[subprocess.Popen]:
    "A command that has said that it is ready, until the end of the block; then it and its children are gone."
    log = settings.home/f'{arguments[0]}-{datetime.now(UTC):%H%M%S%f}.log'
    with log.open('w') as out:
        process = subprocess.Popen([COMMAND, *arguments], env=environment(settings) | changes, stdout=out, stderr=subprocess.STDOUT)
    process.log = log
    children = []
    try:
        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            return until in log.read_text()
        wait_until(ready)
        children = psutil.Process(process.pid).children(recursive=True)
        yield process
    finally:
        for one in [process, *children]:
            if isinstance(one, subprocess.Popen) or one.is_running(): one.kill()
        process.wait(20)


def worker(settings: Settings, *arguments: str, **changes: str): return started(settings, 'worker', *arguments, until=' ready.', **changes)


def told(result, seconds: float = 60):
    "The end of a task: what it returned, or its error."
    wait_until(result.ready, seconds)
    return result.result


def order(settings: Settings, name: str = 'work', **given) -> dict: return pack(plan(settings, name, given))


def sent(settings: Settings, order: dict):
    app = make_app(settings)
    send(app, settings, order)
    return app.AsyncResult(order['ids'][len(order['before'])])


def states(engine) -> list[str]: return [run['state'] for run in reversed(recent_runs(engine))]


def gate(tmp_path: Path) -> tuple[str, Path, Path]:
    "A cell that says that it is there and waits for leave; the two files."
    here, leave = tmp_path/'here', tmp_path/'leave'
    text = f"from pathlib import Path\nimport time\nPath({str(here)!r}).open('a').write('x')\nwhile not Path({str(leave)!r}).exists(): time.sleep(0.05)"
    return text, here, leave


def test_a_job_runs_on_a_worker_as_in_place(settings, engine, project):
    write_job(project, 'work', "print('worked', times, 'times')")
    given = {'times': 3, 'as_of': '2026-03-01T00:00Z'}
    with worker(settings):
        step, = run_on_workers(settings, engine, 'work', given)
        again, = run_on_workers(settings, engine, 'work', given)
        forced, = run_on_workers(settings, engine, 'work', given, force=True)
    assert (step.state, again.state, again.run_id, forced.state) == ('succeeded', 'up to date', step.run_id, 'succeeded')
    assert 'worked 3 times' in step.finished.report.read_text()
    assert run(settings, engine, 'work', given)[0].state == 'up to date'
    assert states(engine) == ['succeeded', 'succeeded']


def test_bad_orders_are_refused_before_anything_starts(settings, engine, project):
    write_job(project, 'work', '1')
    with pytest.raises(JobError, match='did you mean times'): run_on_workers(settings, engine, 'work', {'time': 2})
    with worker(settings):
        for step, message in (['work', {'times': 'twice'}], 'valid integer'), (['work', {'tmies': 2}], 'did you mean times'), (['wrok', {}], 'did you mean'):
            if step[0] == 'wrok':
                result = make_app(settings).tasks['football_pred.run_job'].apply_async((order(settings) | {'steps': [step]},), queue='maintenance')
            else: result = sent(settings, order(settings) | {'steps': [step]})
            error = told(result)
            assert (result.state, isinstance(error, JobError), message in str(error)) == ('FAILURE', True, True), error
    assert recent_runs(engine) == []
    assert not settings.reports.exists()


def test_a_job_that_fails_fails_as_a_task_and_is_recorded_once(settings, engine, project):
    write_job(project, 'work', "assert times > 2, f'{times} is not above 2'")
    with worker(settings):
        result = sent(settings, order(settings))
        error = told(result)
        step, = run_on_workers(settings, engine, 'work')
    assert (result.state, type(error), error.args[0]['state']) == ('FAILURE', JobFailed, 'failed')
    assert (step.state, step.finished.error) == ('failed', '1 is not above 2')
    assert states(engine) == ['failed', 'failed']  # one for each order


def test_a_pipeline_goes_as_in_place(settings, engine, project):
    for name in ('collect', 'train', 'predict', 'settle'): write_job(project, name, 'assert times < 3' if name == 'train' else '1')
    write_schedule(project, needs={'train': ['collect'], 'predict': ['train'], 'settle': ['collect']}, queues={'collect': ['collect'], 'train': ['train']},
                   pipelines={'daily': ['collect', 'train', 'predict', 'settle']})
    with worker(settings, '--queue', 'collect', '--queue', 'maintenance'), worker(settings, '--queue', 'train'):
        first = subprocess.run([COMMAND, 'run', 'daily', '-p', 'times', '5', '--as-of', '2026-03-01', '--on', 'workers'], env=environment(settings),
                               capture_output=True, text=True, timeout=100)
        here = settings.model_copy(update={'home': settings.home.parent/'here'})
        in_place = subprocess.run([COMMAND, 'run', 'daily', '-p', 'times', '5', '--as-of', '2026-03-01'], env=environment(here), capture_output=True, text=True)
        second = run_on_workers(settings, engine, 'daily', {'as_of': '2026-03-01T00:00+00:00'})
    assert (first.returncode, in_place.returncode) == (1, 1), first.stdout + first.stderr
    def table(out: str) -> list[list[str]]: return [line.split()[:3] for line in out.splitlines()[:5]]
    assert table(first.stdout) == table(in_place.stdout)
    assert 'train did not succeed' in first.stdout
    assert [step.state for step in second] == ['succeeded', 'succeeded', 'succeeded', 'succeeded']
    rows = {run['job']: run for run in recent_runs(engine)}
    assert rows['predict']['upstream'] == [rows['train']['run_id']]
    assert {run['pipeline'] for run in rows.values()} == {'daily'}


def test_delivered_twice_it_runs_once(settings, engine, project, tmp_path):
    text, here, leave = gate(tmp_path)
    write_job(project, 'work', text)
    asked = order(settings)
    with worker(settings, '--concurrency', '2') as process:
        first = sent(settings, asked)
        wait_until(here.exists)
        second = sent(settings, asked | {'ids': ['second']})
        wait_until(lambda: second.state == 'RETRY')
        assert 'already running' in str(second.result)
        leave.touch()
        assert (told(first)['state'], told(second)['state']) == ('succeeded', 'up to date')
        third = sent(settings, asked | {'ids': ['third']})
        assert told(third)['run_id'] == first.result['run_id']
        assert 'Traceback' not in process.log.read_text()
    assert (states(engine), here.read_text()) == (['succeeded'], 'x')


@pytest.mark.parametrize('whom', ['child', 'all'])
def test_killed_in_the_middle_it_is_run_once_more(settings, engine, project, tmp_path, whom):
    "Of the whole worker nothing is left to give the order back: Redis hands it out anew when nobody can be at it any more."
    text, here, leave = gate(tmp_path)
    write_job(project, 'work', text)
    settings = settings.model_copy(update={'job_timeout': 10 if whom == 'all' else 60})
    with ExitStack() as stack:
        process = stack.enter_context(worker(settings))
        result = sent(settings, order(settings))
        wait_until(here.exists)
        child, kernel = recent_runs(engine)[0]['processes']
        if whom == 'all': process.kill()
        psutil.Process(child['pid']).kill()
        leave.touch()
        if whom == 'all': stack.enter_context(worker(settings))
        assert told(result, 150)['state'] == 'succeeded'
    assert states(engine) == ['lost', 'succeeded']
    assert find_process(kernel) is None


def test_a_job_that_kills_its_worker_is_given_up(settings, engine, project):
    write_job(project, 'work', 'import os, signal; os.kill(os.getppid(), signal.SIGKILL)\nimport threading; threading.Event().wait(30)')
    with worker(settings.model_copy(update={'job_retries': 1}), FOOTBALL_JOB_RETRIES='1'):
        error = told(sent(settings, order(settings)))
    assert error.args[0] | {'run_id': None} == {'job': 'work', 'state': 'lost', 'run_id': None, 'why': 'its worker died 2 times'}
    assert states(engine) == ['lost', 'lost']


def test_sigterm_waits_for_a_job_that_ends(settings, engine, project, tmp_path):
    text, here, leave = gate(tmp_path)
    write_job(project, 'work', text)
    with worker(settings) as process:
        result = sent(settings, order(settings))
        wait_until(here.exists)
        process.terminate()
        wait_until(lambda: 'Soft Shutdown' in process.log.read_text())
        leave.touch()
        process.wait(60)
        assert told(result)['state'] == 'succeeded'
    assert states(engine) == ['succeeded']


def test_sigterm_cancels_a_job_that_does_not_end_and_another_worker_runs_it(settings, engine, project, tmp_path):
    text, here, leave = gate(tmp_path)
    write_job(project, 'work', text)
    with worker(settings.model_copy(update={'worker_seconds': 1})) as process:
        result = sent(settings, order(settings))
        wait_until(here.exists)
        kernel = recent_runs(engine)[0]['processes'][1]
        process.terminate()
        process.wait(60)
        assert states(engine) == ['cancelled']
        assert find_process(kernel) is None
    leave.touch()
    with worker(settings): assert told(result)['state'] == 'succeeded'
    assert states(engine) == ['cancelled', 'succeeded']


def test_redis_stopped_and_started_again(settings, engine, project, tmp_path):
    write_job(project, 'work', '1')
    port = free_port()
    with ExitStack() as stack:
        with run_redis(port) as url:
            settings = settings.model_copy(update={'broker_url': Settings(broker_url=url).broker_url})
            process = stack.enter_context(worker(settings))
            assert told(sent(settings, order(settings)))['state'] == 'succeeded'
        wait_until(lambda: 'Trying again in' in process.log.read_text())
        stack.enter_context(run_redis(port))
        assert told(sent(settings, order(settings, times=2)))['state'] == 'succeeded'


def test_every_scheduled_entry_names_a_task():
    app = make_app(Settings(broker_url='redis://127.0.0.1:1/0'))
    entries = app.conf.beat_schedule
    assert set(entries) >= {'daily', 'predict', 'settle'}
    for entry in entries.values(): assert entry['task'] in app.tasks
    assert {entry['options']['queue'] for entry in entries.values()} <= {queue.name for queue in app.conf.task_queues}


def test_beat_starts_what_is_due(settings, engine, project):
    write_job(project, 'work', '1')
    write_job(project, 'after', '1')
    write_schedule(project, pipelines={'both': ['work', 'after']}, needs={'after': ['work']}, times={'both': 2, 'work': '0 0 1 1 *'}, queues={'train': ['after']})
    with worker(settings), started(settings, 'beat', until='beat: Starting'):
        wait_until(lambda: 'succeeded' in [run['state'] for run in recent_runs(engine, job='after')])
    rows = {run['job']: run for run in recent_runs(engine)}
    assert (rows['work']['pipeline'], rows['after']['pipeline']) == ('both', 'both')


def test_flower_asks_for_the_password(settings, project):
    write_job(project, 'work', '1')
    refused = subprocess.run([COMMAND, 'flower'], env=environment(settings) | {'FOOTBALL_FLOWER_URL': 'http://127.0.0.1:5555'}, capture_output=True, text=True)
    assert (refused.returncode, 'has no user and password' in refused.stderr) == (2, True)
    port = free_port()
    def code(path: str, credentials: str = '') -> tuple[int, str]:
        headers = {'Authorization': f'Basic {base64.b64encode(credentials.encode()).decode()}'} if credentials else {}
        try:
            with urllib.request.urlopen(urllib.request.Request(f'http://127.0.0.1:{port}{path}', headers=headers)) as answer: return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error: return error.code, error.read().decode()
    with worker(settings), started(settings, 'flower', '--port', str(port), until='flower listens', FOOTBALL_FLOWER_URL='http://look:pass%20word@flower:5555'):
        paths = ('/', '/workers', '/tasks', '/api/workers?refresh=1', '/metrics')
        assert [code(path)[0] for path in paths] == [401]*5
        assert [code(path, 'look:wrong')[0] for path in paths] == [401]*5
        assert [code(path, 'look:pass word')[0] for path in paths] == [200]*5
        assert 'football-' in code('/api/workers?refresh=1', 'look:pass word')[1]
        assert told(sent(settings, order(settings)))['state'] == 'succeeded'
        wait_until(lambda: 'flower_events_total' in code('/metrics', 'look:pass word')[1])
        assert code('/healthcheck') == (200, 'OK')
