"Jobs on workers: real Redis, workers, beat and Flower, and every way an order can go astray."

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import nbformat
import psutil
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook
from redis import Redis

from football_pred.core.database import open_database
from football_pred.core.job_runs import find_process, recent_runs
from football_pred.core.settings import Settings
from football_pred.jobs.celery_app import (
    JobFailure,
    create_celery_app,
    plan_to_order,
    run_on_workers,
    send_order,
)
from football_pred.jobs.job_spec import JobError
from football_pred.jobs.pipelines import plan_run, run_pipeline
from football_pred.jobs.schedule import load_schedule
from tests.support.server import COMMAND, wait_until
from tests.support.services import free_port, run_redis

PARAMETERS = "as_of: str = '2026-03-01T00:00Z'  # Logical time\ntimes: int = 1  # How often"


def write_job(project: Path, name: str, *cells: str, parameters: str = PARAMETERS) -> None:
    notebook = new_notebook(
        cells=[
            new_code_cell(parameters, metadata={'tags': ['parameters']}),
            *map(new_code_cell, cells),
        ]
    )
    nbformat.write(notebook, project / f'nbs/jobs/{name}.ipynb')


def write_schedule(project: Path, **parts) -> None:
    (project / 'params/schedule.yaml').write_text(
        yaml.safe_dump({'needs': {}, 'pipelines': {}} | parts)
    )


@pytest.fixture
def project(tmp_path):
    "A checkout whose jobs a test writes."
    for folder in ('nbs/jobs', 'params', 'football_pred'):
        (tmp_path / 'project' / folder).mkdir(parents=True)
    write_schedule(tmp_path / 'project')
    return tmp_path / 'project'


@pytest.fixture
def settings(project, tmp_path, redis):
    return Settings(
        home=tmp_path / 'home',
        project=project,
        database_url=None,
        job_timeout=60,
        heartbeat_seconds=0.1,
        broker_url=redis[:-1] + '3',
    )


@pytest.fixture
def engine(settings) -> Iterator:
    engine = open_database(settings.database_dsn)
    yield engine
    engine.dispose()


def environment(settings: Settings) -> dict[str, str]:
    names = ('home', 'project', 'job_timeout', 'heartbeat_seconds', 'worker_seconds')
    return (
        os.environ
        | {f'FOOTBALL_{name.upper()}': str(getattr(settings, name)) for name in names}
        | {'FOOTBALL_BROKER_URL': settings.broker_dsn}
    )


@contextmanager
def started(
    settings: Settings, *arguments: str, until: str, **changes: str
) -> Iterator[subprocess.Popen]:
    "A command that is ready, until the end of the block; then it and its children are killed."
    settings.home.mkdir(exist_ok=True)
    log = settings.home / f'{arguments[0]}-{datetime.now(UTC):%H%M%S%f}.log'
    with log.open('w') as out:
        process = subprocess.Popen(
            [COMMAND, *arguments],
            env=environment(settings) | changes,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
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
        for child in [process, *children]:
            if isinstance(child, subprocess.Popen) or child.is_running():
                child.kill()
        process.wait(20)


def worker(settings: Settings, *arguments: str, **changes: str):
    return started(settings, 'worker', *arguments, until=' ready.', **changes)


def end_of(result):
    "The end of a task: what it returned, or its error."
    wait_until(result.ready)
    return result.result


def order(settings: Settings, name: str = 'work', **overrides) -> dict:
    return plan_to_order(plan_run(settings, name, overrides))


def sent(settings: Settings, order: dict):
    app = create_celery_app(settings)
    send_order(app, load_schedule(settings.project), order)
    return app.AsyncResult(order['ids'][len(order['before'])])


def states(engine) -> list[str]:
    return [run['state'] for run in reversed(recent_runs(engine))]


def gate(tmp_path: Path) -> tuple[str, Path, Path]:
    "A cell that says that it is there and waits for leave; the two files."
    here, leave = tmp_path / 'here', tmp_path / 'leave'
    text = (
        "from pathlib import Path\nimport time\n"
        f"Path({str(here)!r}).open('a').write('x')\n"
        f"while not Path({str(leave)!r}).exists(): time.sleep(0.05)"
    )
    return text, here, leave


def test_a_job_runs_on_a_worker_as_in_place(settings, engine, project):
    write_job(project, 'work', "print('worked', times, 'times')")
    overrides = {'times': 3, 'as_of': '2026-03-01T00:00Z'}
    with worker(settings):
        (step,) = run_on_workers(settings, engine, 'work', overrides)
        (again,) = run_on_workers(settings, engine, 'work', overrides)
        (forced,) = run_on_workers(settings, engine, 'work', overrides, force=True)
    assert (step.state, again.state, again.run_id, forced.state) == (
        'succeeded',
        'up to date',
        step.run_id,
        'succeeded',
    )
    assert 'worked 3 times' in step.run.report.read_text()
    assert run_pipeline(settings, engine, 'work', overrides)[0].state == 'up to date'
    assert states(engine) == ['succeeded', 'succeeded']


def test_bad_orders_are_refused_before_anything_starts(settings, engine, project):
    write_job(project, 'work', '1')
    with pytest.raises(JobError, match='did you mean times'):
        run_on_workers(settings, engine, 'work', {'time': 2})
    wrong = (
        (['work', {'times': 'twice'}], 'valid integer'),
        (['work', {'tmies': 2}], 'did you mean times'),
        (['wrok', {}], 'did you mean'),
    )
    with worker(settings):
        for step, message in wrong:
            result = sent(settings, order(settings) | {'steps': [step]})
            error = end_of(result)
            assert (result.state, isinstance(error, JobError), message in str(error)) == (
                'FAILURE',
                True,
                True,
            ), error
    assert recent_runs(engine) == []
    assert not settings.reports_folder.exists()


def test_a_job_that_fails_fails_as_a_task_and_is_recorded_once(settings, engine, project):
    write_job(project, 'work', "assert times > 2, f'{times} is not above 2'")
    with worker(settings):
        result = sent(settings, order(settings))
        error = end_of(result)
        (step,) = run_on_workers(settings, engine, 'work')
    assert (result.state, type(error), error.args[0]['state']) == ('FAILURE', JobFailure, 'failed')
    assert (step.state, step.run.error) == ('failed', '1 is not above 2')
    assert states(engine) == ['failed', 'failed']  # one for each order


def test_a_pipeline_goes_as_in_place(settings, engine, project):
    for name in ('collect', 'train', 'predict', 'settle'):
        write_job(project, name, 'assert times < 3' if name == 'train' else '1')
    write_schedule(
        project,
        needs={'train': ['collect'], 'predict': ['train'], 'settle': ['collect']},
        queues={'collect': ['collect'], 'train': ['train']},
        pipelines={'daily': ['collect', 'train', 'predict', 'settle']},
    )
    with (
        worker(settings, '--queue', 'collect', '--queue', 'maintenance'),
        worker(settings, '--queue', 'train'),
    ):
        command = [COMMAND, 'run', 'daily', '-p', 'times', '5', '--as-of', '2026-03-01']
        first = subprocess.run(
            [*command, '--on', 'workers'], env=environment(settings), capture_output=True, text=True
        )
        here = settings.model_copy(update={'home': settings.home.parent / 'here'})
        in_place = subprocess.run(command, env=environment(here), capture_output=True, text=True)
        second = run_on_workers(settings, engine, 'daily', {'as_of': '2026-03-01T00:00+00:00'})
    assert (first.returncode, in_place.returncode) == (1, 1), first.stdout + first.stderr

    def table(out: str) -> list[list[str]]:
        steps = [line for line in out.splitlines() if '% of' not in line]  # no progress
        return [line.split()[:3] for line in steps[:5]]

    assert table(first.stdout) == table(in_place.stdout)
    assert 'train did not succeed' in first.stdout
    assert [step.state for step in second] == ['succeeded', 'succeeded', 'succeeded', 'succeeded']
    rows = {run['job']: run for run in reversed(recent_runs(engine))}
    assert rows['predict']['upstream'] == [rows['train']['run_id']]
    assert {run['pipeline'] for run in rows.values()} == {'daily'}


def test_delivered_twice_it_runs_once(settings, engine, project, tmp_path):
    text, here, leave = gate(tmp_path)
    write_job(project, 'work', text)
    work_order = order(settings)
    with worker(settings, '--concurrency', '2') as process:
        first = sent(settings, work_order)
        wait_until(here.exists)
        second = sent(settings, work_order | {'ids': ['second']})
        wait_until(lambda: second.state == 'RETRY')
        assert 'already running' in str(second.result)
        leave.touch()
        assert (end_of(first)['state'], end_of(second)['state']) == ('succeeded', 'up to date')
        third = sent(settings, work_order | {'ids': ['third']})
        assert end_of(third)['run_id'] == first.result['run_id']
        assert 'Traceback' not in process.log.read_text()
    assert (states(engine), here.read_text()) == (['succeeded'], 'x')


def test_a_job_that_failed_is_not_run_again_by_a_second_delivery(settings, engine, project):
    write_job(project, 'work', "assert times > 2, f'{times} is not above 2'")
    work_order = order(settings)
    with worker(settings):
        first, second = (
            end_of(sent(settings, work_order | {'ids': [name]})) for name in ('first', 'second')
        )
    assert first.args == second.args
    assert states(engine) == ['failed']


def hand_out_anew(settings: Settings) -> None:
    "As if the time were over in which nobody else gets an order."
    with Redis.from_url(settings.broker_dsn) as client:
        for tag in client.zrange('unacked_index', 0, -1):
            client.zadd('unacked_index', {tag: 0})


def test_an_order_that_is_handed_out_anew_while_its_job_runs_waits(
    settings, engine, project, tmp_path
):
    text, here, leave = gate(tmp_path)
    write_job(project, 'work', text)
    with worker(settings):
        result = sent(settings, order(settings))
        wait_until(here.exists)
        hand_out_anew(settings)
        with worker(settings) as other:
            wait_until(lambda: 'is already running' in other.log.read_text())
            leave.touch()
            wait_until(lambda: "'up to date'" in other.log.read_text())
        assert end_of(result)['run_id'] == recent_runs(engine)[0]['run_id']
    assert (states(engine), here.read_text()) == (['succeeded'], 'x')


@pytest.mark.parametrize('whom', ['child', 'all'])
def test_killed_in_the_middle_it_is_run_once_more(settings, engine, project, tmp_path, whom):
    "A killed worker cannot return its order: Redis delivers it again."
    text, here, leave = gate(tmp_path)
    write_job(project, 'work', text)
    with ExitStack() as stack:
        process = stack.enter_context(worker(settings))
        result = sent(settings, order(settings))
        wait_until(here.exists)
        child, kernel = recent_runs(engine)[0]['processes']
        if whom == 'all':
            process.kill()
        psutil.Process(child['pid']).kill()
        leave.touch()
        if whom == 'all':
            hand_out_anew(settings)
            stack.enter_context(worker(settings))
        assert end_of(result)['state'] == 'succeeded'
    assert states(engine) == ['lost', 'succeeded']
    assert find_process(kernel) is None


def test_a_job_that_kills_its_worker_is_given_up(settings, engine, project):
    write_job(
        project,
        'work',
        'import os, psutil; psutil.Process(os.getppid()).parent().kill()  # of the fork server\n'
        'import threading; threading.Event().wait(30)',
    )
    with worker(settings, FOOTBALL_JOB_RETRIES='1'):
        error = end_of(sent(settings, order(settings)))
    assert error.args[0] | {'run_id': None} == {
        'job': 'work',
        'state': 'lost',
        'run_id': None,
        'why': 'its worker died 2 times',
    }
    assert states(engine) == ['lost', 'lost']


def test_sigterm_waits_for_a_job_that_ends(settings, engine, project, tmp_path):
    text, here, leave = gate(tmp_path)
    write_job(project, 'work', text)
    with worker(settings.model_copy(update={'worker_seconds': 600})) as process:
        result = sent(settings, order(settings))
        wait_until(here.exists)
        process.terminate()
        wait_until(lambda: 'Soft Shutdown' in process.log.read_text())
        leave.touch()
        assert end_of(result)['state'] == 'succeeded'
    assert states(engine) == ['succeeded']


def test_sigterm_cancels_a_job_that_does_not_end_and_another_worker_runs_it(
    settings, engine, project, tmp_path
):
    text, here, leave = gate(tmp_path)
    write_job(project, 'work', text)
    with worker(settings.model_copy(update={'worker_seconds': 1})) as process:
        result = sent(settings, order(settings))
        wait_until(here.exists)
        kernel = recent_runs(engine)[0]['processes'][1]
        process.terminate()
        process.wait(120)
        wait_until(lambda: states(engine) == ['cancelled'])
        assert find_process(kernel) is None
    leave.touch()
    with worker(settings):
        assert end_of(result)['state'] == 'succeeded'
    assert states(engine) == ['cancelled', 'succeeded']


def test_redis_stopped_and_started_again(settings, engine, project, tmp_path):
    write_job(project, 'work', '1')
    port = free_port()
    with ExitStack() as stack:
        with run_redis(port) as url:
            settings = settings.model_copy(
                update={'broker_url': Settings(broker_url=url).broker_url}
            )
            process = stack.enter_context(worker(settings))
            assert end_of(sent(settings, order(settings)))['state'] == 'succeeded'
        wait_until(lambda: 'Trying again in' in process.log.read_text())
        stack.enter_context(run_redis(port))
        assert end_of(sent(settings, order(settings, times=2)))['state'] == 'succeeded'


def test_every_scheduled_entry_names_a_task():
    app = create_celery_app(Settings(broker_url='redis://127.0.0.1:1/0'))
    entries = app.conf.beat_schedule
    assert set(entries) >= {'daily', 'predict', 'settle'}
    for entry in entries.values():
        assert entry['task'] in app.tasks
    assert {entry['options']['queue'] for entry in entries.values()} <= {
        queue.name for queue in app.conf.task_queues
    }


def test_beat_starts_what_is_due(settings, engine, project):
    write_job(project, 'work', '1')
    write_job(project, 'after', '1')
    write_schedule(
        project,
        pipelines={'both': ['work', 'after']},
        needs={'after': ['work']},
        times={'both': 2, 'work': '0 0 1 1 *'},
        queues={'train': ['after']},
    )
    with worker(settings), started(settings, 'beat', until='beat: Starting'):
        wait_until(
            lambda: 'succeeded' in [run['state'] for run in recent_runs(engine, job='after')]
        )
    rows = {run['job']: run for run in recent_runs(engine)}
    assert (rows['work']['pipeline'], rows['after']['pipeline']) == ('both', 'both')


def test_flower_asks_for_the_password(settings, project):
    write_job(project, 'work', '1')
    url = {'FOOTBALL_FLOWER_URL': 'http://127.0.0.1:5555'}
    refused = subprocess.run(
        [COMMAND, 'flower'], env=environment(settings) | url, capture_output=True, text=True
    )
    assert (refused.returncode, 'has no user and password' in refused.stderr) == (2, True)
    port = free_port()

    def code(path: str, credentials: tuple[str, str] | None = None) -> int:
        return httpx.get(f'http://127.0.0.1:{port}{path}', auth=credentials, timeout=60).status_code

    look, url = (
        ('look', 'pass word'),
        {'FOOTBALL_FLOWER_URL': 'http://look:pass%20word@flower:5555'},
    )
    with (
        worker(settings),
        started(settings, 'flower', '--port', str(port), until='flower listens', **url),
    ):
        paths = ('/', '/workers', '/tasks', '/api/workers?refresh=1', '/metrics')
        assert [code(path) for path in paths] == [401] * 5
        assert [code(path, ('look', 'wrong')) for path in paths] == [401] * 5
        assert [code(path, look) for path in paths] == [200] * 5
        assert end_of(sent(settings, order(settings)))['state'] == 'succeeded'
        wait_until(
            lambda: (
                'flower_events_total'
                in httpx.get(f'http://127.0.0.1:{port}/metrics', auth=look, timeout=60).text
            )
        )
        assert code('/healthcheck') == 200


IN_PARTS = (
    PARAMETERS + "\nleagues: list[str] = ['D1', 'E0']  # Leagues\npart: str = ''  # Only this part"
)


def write_job_in_parts(project: Path, folder: Path, first: str = '') -> None:
    "Each task leaves a file with its run; the whole job computes what is missing and reads all."
    write_job(
        project,
        'work',
        "from pathlib import Path\nfrom football_pred.core.settings import Settings",
        """
for league in [part] if part else leagues:
    path = Path(FOLDER)/league
    if not path.exists(): path.write_text(Settings().run_id)
""".replace('FOLDER', repr(str(folder))),
        f"print([Path({str(folder)!r}, league).read_text() for league in leagues])",
        parameters=IN_PARTS,
    )
    path = project / 'nbs/jobs/work.ipynb'
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].metadata['tags'] = ['parts']
    if first:
        notebook.cells[1].source += f'\n{first}'
    nbformat.write(notebook, path)
    write_schedule(
        project,
        parts={'work': [['leagues']]},
        queues={'train': ['work']},
        pipelines={'both': ['work', 'after']},
        needs={'after': ['work']},
    )
    write_job(project, 'after', '1')


def test_parts_go_to_workers_and_the_whole_comes_after(settings, engine, project, tmp_path):
    write_job_in_parts(project, tmp_path)
    with worker(settings, '--queue', 'train'), worker(settings):
        steps = run_on_workers(settings, engine, 'both', {'as_of': '2026-03-01T00:00Z'})
    assert [step.state for step in steps] == ['succeeded', 'succeeded']
    runs = recent_runs(engine)
    assert [run['job'] for run in runs[:2]] == ['after', 'work']
    parts = {run['lease']: run['run_id'] for run in runs[2:]}
    assert {league: (tmp_path / league).read_text() for league in ('D1', 'E0')} == {
        league: parts[f'work:{league}'] for league in ('D1', 'E0')
    }
    assert runs[0]['upstream'] == [runs[1]['run_id']]
    assert steps[0].run.report.read_text().count('work-part-') == 2
    assert (
        run_pipeline(settings, engine, 'work', {'as_of': '2026-03-01T00:00Z'})[0].state
        == 'up to date'
    )  # the whole is the same as in place


def test_what_a_part_cannot_do_the_whole_tells(settings, engine, project, tmp_path):
    write_job_in_parts(
        project,
        tmp_path,
        "assert part != 'E0', 'E0 is not there'\n"
        "assert part or Path('nowhere').exists(), 'nothing is there'",
    )
    with worker(settings):
        (step,) = run_on_workers(settings, engine, 'work')
    assert (step.state, step.run.error) == ('failed', 'nothing is there')
    runs = sorted((run['job'], run['state']) for run in recent_runs(engine))
    assert runs == [('work', 'failed'), ('work-part', 'failed'), ('work-part', 'succeeded')]
