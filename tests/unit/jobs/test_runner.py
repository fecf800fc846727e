"One run of one job: every way it can end, with real kernels, processes and signals."

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import update

from football_pred.core.database import open_database, write_transaction
from football_pred.core.job_runs import AlreadyRunning, find_process, recent_runs
from football_pred.core.schema import job_runs
from football_pred.core.settings import Settings
from football_pred.jobs import schedule
from football_pred.jobs.job_spec import JobError
from football_pred.jobs.pipelines import run_pipeline
from tests.support.job_project import create_project, write_job
from tests.support.server import wait_until
from tests.support.services import free_port


@pytest.fixture
def project(tmp_path):
    return create_project(tmp_path / 'project')


@pytest.fixture
def settings(project, tmp_path, database_url):
    return Settings(
        home=tmp_path / 'home',
        project=project,
        database_url=database_url,
        job_timeout=60,
        heartbeat_seconds=0.1,
        job_retries=2,
    )


@pytest.fixture
def engine(settings):
    return open_database(settings.database_dsn)


def command(settings: Settings, *arguments: str, **changes: str) -> subprocess.Popen:
    env = (
        os.environ
        | {'FOOTBALL_HOME': str(settings.home), 'FOOTBALL_PROJECT': str(settings.project)}
        | changes
    )
    return subprocess.Popen(
        [sys.executable, '-c', 'from football_pred.cli import main; main()', *arguments],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def one_run(engine):
    return recent_runs(engine)[0]


def started(engine, folder: Path) -> dict:
    "The run, once its notebook has reached the cell that leaves the file `here`."
    wait_until(lambda: (folder / 'here').exists())
    return one_run(engine)


@pytest.fixture
def endless(project, tmp_path):
    "A job that says it is there and then never ends."
    write_job(
        project,
        f"from pathlib import Path; Path({str(tmp_path / 'here')!r}).touch()",
        'import threading; threading.Event().wait()',
    )
    return tmp_path


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({'time': 2}, 'did you mean times'),
        ({'times': 'twice'}, 'valid integer'),
        ({'times': 1.5}, 'valid integer'),
        ({'times': True}, 'valid integer'),
        ({'as_of': 'noon'}, 'not a moment'),
    ],
    ids=str,
)
def test_wrong_parameter_is_refused_before_anything_starts(
    settings, engine, project, overrides, message
):
    write_job(project, '1')
    with pytest.raises(JobError, match=message):
        run_pipeline(settings, engine, 'work', overrides)
    assert recent_runs(engine) == []
    assert not settings.reports_folder.exists()


def test_misspelt_and_ill_typed_params_files_are_named(settings, engine, project):
    write_job(project, '1')
    for text, message in (
        ('tmies: 2', r"params/work.yaml: job work has no parameter 'tmies'; did you mean times"),
        (
            'times: two',
            r"params/work.yaml: parameter times of job work is int \(How often\), got 'two'",
        ),
        ('- times', 'must hold "name: value" lines'),
        ('times: [', 'is not YAML'),
    ):
        (project / 'params/work.yaml').write_text(text)
        with pytest.raises(JobError, match=message):
            run_pipeline(settings, engine, 'work')


def test_success_leaves_notebook_page_index_and_row(settings, engine, project):
    write_job(project, "print('worked', times, 'times')")
    (step,) = run_pipeline(settings, engine, 'work', {'times': 3})
    row = one_run(engine)
    assert (step.state, row['state'], row['params']['times'], row['attempts']) == (
        'succeeded',
        'succeeded',
        3,
        1,
    )
    assert row['finished_at'] >= row['heartbeat_at'] >= row['started_at']
    page = settings.reports_folder / row['report']
    assert 'worked 3 times' in page.read_text()
    assert 'worked 3 times' in page.with_suffix('.ipynb').read_text()
    assert row['report'] in (settings.reports_folder / 'index.html').read_text()
    assert [find_process(process) for process in row['processes'][1:]] == [None]


def test_a_report_that_mlflow_does_not_take_is_told_and_the_run_stays_what_it_was(
    settings, engine, project
):
    write_job(
        project,
        'from football_pred.core.settings import Settings',
        "(Settings().run_folder('work')/'attach.json').write_text('[\"1\"]')",
    )
    away = settings.model_copy(update={'mlflow_url': SecretStr(f'http://127.0.0.1:{free_port()}')})
    with pytest.warns(UserWarning, match=r'the report of work-\S+ is not in MLflow'):
        (step,) = run_pipeline(away, engine, 'work')
    assert step.state == one_run(engine)['state'] == 'succeeded'


def test_failure_keeps_numbers_and_report(settings, engine, project):
    write_job(project, "assert times > 2, f'{times} is not above 2'", "print('never reached')")
    (step,) = run_pipeline(settings, engine, 'work')
    row = one_run(engine)
    assert (row['state'], row['error_type'], row['error']) == (
        'failed',
        'AssertionError',
        '1 is not above 2',
    )
    assert '1 is not above 2' in step.run.report.read_text()
    assert row['attempts'] == 1


def test_checks_of_the_notebook_are_kept(settings, engine, project):
    write_job(
        project,
        'from football_pred.reporting.tables_and_checks import Check, run_checks',
        "run_checks([Check('matches', 380, at_least=380), Check('gap', 0.2, at_most=0.1)])",
    )
    run_pipeline(settings, engine, 'work')
    row = one_run(engine)
    assert [(check['name'], check['value'], check['passed']) for check in row['checks']] == [
        ('matches', 380, True),
        ('gap', 0.2, False),
    ]
    assert row['state'] == 'failed'
    assert 'gap is 0.2, expected at most 0.1' in row['error']


def test_a_run_that_takes_too_long_is_stopped_as_a_whole(settings, engine, endless):
    (step,) = run_pipeline(settings.model_copy(update={'job_timeout': 4}), engine, 'work')
    row = one_run(engine)
    assert (step.state, row['state'], row['error'], row['attempts']) == (
        'timed_out',
        'timed_out',
        'stopped after 4 s',
        1,
    )
    assert find_process(row['processes'][1]) is None


@pytest.mark.parametrize(
    ('error', 'attempts', 'state'),
    [
        ("raise ConnectionError('refused')", 2, 'succeeded'),
        ('import os, signal; os.kill(os.getpid(), signal.SIGKILL)', 2, 'succeeded'),
        ("raise ValueError('wrong')", 1, 'failed'),
    ],
    ids=['connection', 'kernel killed', 'defect'],
)
def test_what_passes_is_tried_again(settings, engine, project, tmp_path, error, attempts, state):
    write_job(
        project,
        f'from pathlib import Path; tried = Path({str(tmp_path / "tried")!r})',
        f'first = not tried.exists(); tried.touch()\nif first: {error}',
    )
    run_pipeline(settings, engine, 'work')
    row = one_run(engine)
    assert (row['state'], row['attempts']) == (state, attempts)


def test_tries_end(settings, engine, project):
    write_job(project, "raise ConnectionError('refused')")
    run_pipeline(settings.model_copy(update={'job_retries': 1}), engine, 'work')
    row = one_run(engine)
    assert (row['state'], row['attempts'], row['error_type']) == ('failed', 2, 'ConnectionError')


def test_secrets_are_masked_in_everything_that_is_stored(project, tmp_path, sqlite):
    secret = f"sqlite:///{tmp_path / 'hush-hush.db'}"
    settings = Settings(home=tmp_path / 'home', project=project, database_url=secret)
    engine = open_database(settings.database_dsn)
    write_job(
        project,
        'from football_pred.core.settings import Settings\nprint(Settings().database_dsn)',
        'raise ValueError(Settings().database_dsn)',
    )
    run_pipeline(settings, engine, 'work')
    stored = [path.read_text() for path in settings.reports_folder.rglob('*') if path.is_file()] + [
        json.dumps(one_run(engine), default=str)
    ]
    assert len(stored) == 4
    assert all('***' in text for text in stored[:-1] if 'ValueError' in text)
    assert not any('hush-hush' in text for text in stored)
    assert one_run(engine)['error'] == '***'


def test_signs_of_life_are_shown(settings, engine, project, endless):
    process = command(settings, 'run', 'work', FOOTBALL_HEARTBEAT_SECONDS='0.1')
    first = started(engine, endless)
    wait_until(lambda: one_run(engine)['heartbeat_at'] > first['heartbeat_at'])
    process.terminate()
    process.communicate(timeout=30)


@pytest.mark.parametrize(
    ('number', 'code', 'error'),
    [(signal.SIGINT, 130, 'KeyboardInterrupt'), (signal.SIGTERM, 143, 'Terminated')],
    ids=['Ctrl-C', 'SIGTERM'],
)
def test_a_signal_ends_the_run_in_order(settings, engine, endless, number, code, error):
    process = command(settings, 'run', 'work')
    started(engine, endless)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    row = one_run(engine)
    assert (process.returncode, row['state'], row['error_type']) == (code, 'cancelled', error)
    assert 'Traceback' not in errors
    assert find_process(row['processes'][1]) is None


def test_two_runs_at_once_are_one(settings, engine, endless):
    first = command(settings, 'run', 'work')
    row = started(engine, endless)
    second = command(settings, 'run', 'work', '-p', 'times', '2')
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 3
    assert f"work is already running since {row['started_at']:%Y-%m-%d %H:%M:%S} UTC" in errors
    with pytest.raises(AlreadyRunning):
        run_pipeline(settings, engine, 'work')
    assert len(recent_runs(engine)) == 1
    first.terminate()
    first.communicate(timeout=30)


def test_a_killed_run_is_found_and_its_kernel_stopped(settings, engine, endless, project):
    process = command(settings, 'run', 'work')
    row = started(engine, endless)
    kernel = psutil.Process(row['processes'][1]['pid'])
    kernel.suspend()  # A stopped kernel cannot notice that its parent is gone
    process.kill()
    process.wait(30)
    assert one_run(engine)['state'] == 'running'
    write_job(project, '1')
    (step,) = run_pipeline(settings, engine, 'work')
    assert step.state == 'succeeded'
    assert {run['state'] for run in recent_runs(engine)} == {'succeeded', 'lost'}
    assert find_process(row['processes'][1]) is None


def test_a_run_that_others_gave_up_stops_itself(settings, engine, endless):
    process = command(settings, 'run', 'work', FOOTBALL_HEARTBEAT_SECONDS='0.1')
    row = started(engine, endless)
    with write_transaction(engine) as connection:
        connection.execute(update(job_runs).values(state='lost', finished_at=datetime.now(UTC)))
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert (one_run(engine)['state'], find_process(row['processes'][1])) == ('lost', None)


def test_a_run_works_outside_the_main_thread(settings, engine, project):
    write_job(project, '1')
    steps = []
    thread = threading.Thread(target=lambda: steps.extend(run_pipeline(settings, engine, 'work')))
    thread.start()
    thread.join(60)
    assert [step.state for step in steps] == ['succeeded']


def test_what_was_done_is_not_done_again_unless_something_changed(settings, engine, project):
    write_job(project, 'times')
    fixed = {'as_of': '2026-03-01T00:00Z'}

    def state(overrides=fixed, **options):
        return run_pipeline(settings, engine, 'work', overrides, **options)[0].state

    assert state() == 'succeeded'
    assert state() == 'up to date'
    assert state(fixed | {'times': 2}) == 'succeeded'
    assert state() == 'up to date'
    assert state(force=True) == 'succeeded'
    write_job(project, 'times + 1')
    assert state() == 'succeeded'
    assert state() == 'up to date'


def test_a_run_holds_for_the_days_of_the_schedule_inside_a_pipeline(settings, engine, project):
    "What comes meanwhile is for the jobs that build on it."
    schedule = 'needs: {work: [news]}\npipelines: {daily: [news, work]}\nlasts: {work: 7}\n'
    (project / 'params/schedule.yaml').write_text(schedule)
    write_job(project, 'times', name='news')
    write_job(project, 'times')

    def state(as_of, name='daily', **changes):
        params = {'as_of': f'2026-03-{as_of}T00:00Z'} | changes.pop('params', {})
        return run_pipeline(settings, engine, name, params, **changes)[-1].state

    assert state('01') == 'succeeded'
    for as_of in ('01', '02', '07'):
        assert state(as_of) == 'up to date', as_of
    assert state('02', 'work') == 'succeeded'  # asked for by its name
    assert state('03') == 'up to date'
    assert state('09') == 'succeeded'  # a week after
    assert state('08') == 'succeeded'  # it must not know what came later
    assert state('10') == 'up to date'
    assert state('10', force=True) == 'succeeded'
    assert state('11', params={'times': 2}) == 'succeeded'
    write_job(project, 'times * 2')
    assert state('12', params={'times': 2}) == 'succeeded'


@pytest.fixture
def small_disk(tmp_path, sqlite):
    "A file system of 3 MB."
    folder = tmp_path / 'disk'
    folder.mkdir()
    if subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', folder], capture_output=True
    ).returncode:
        pytest.skip('mounting a file system is not allowed here')
    yield folder
    subprocess.run(['umount', '-l', folder], check=True)


def test_full_disk_is_told_and_the_next_run_completes(settings, project, small_disk):
    write_job(project, '1')
    settings = settings.model_copy(update={'home': small_disk / 'home'})
    engine = open_database(settings.database_dsn)
    engine.dispose()
    ballast = small_disk / 'ballast'

    def fill():
        with open(ballast, 'wb', buffering=0) as file:
            while file.write(b'0' * 4096):
                pass

    with pytest.raises(OSError, match='space'):
        fill()
    process = command(settings, 'run', 'work')
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4, errors
    assert 'is there space' in errors
    assert 'Traceback' not in errors
    ballast.unlink()
    process = command(settings, 'run', 'work')
    assert (process.communicate(timeout=60)[0].count('✓'), process.returncode) == (1, 0)
    assert 'running' not in {
        row['state'] for row in recent_runs(open_database(settings.database_dsn))
    }


def test_read_only_home_is_told(settings, project, small_disk):
    write_job(project, '1')
    subprocess.run(['mount', '-o', 'remount,ro', small_disk], check=True)
    process = command(settings.model_copy(update={'home': small_disk / 'home'}), 'run', 'work')
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4
    assert 'Read-only file system' in errors
    assert 'Traceback' not in errors


def test_a_plan_reads_the_schedule_and_the_shared_defaults_once(tmp_path, monkeypatch):
    "However many steps it has: they are passed down, not read again."
    project = create_project(tmp_path / 'project')
    for name in ('one', 'two', 'three'):
        write_job(project, 'as_of', name=name)
    text = 'needs: {two: [one], three: [two]}\npipelines: {all: [one, two, three]}\n'
    (project / 'params/schedule.yaml').write_text(text)
    reads = Counter()
    for name in ('load_schedule', 'read_shared_defaults', 'load_job'):
        real = getattr(schedule, name)

        def count(*arguments, name=name, real=real):
            reads[(name, *arguments[1:])] += 1
            return real(*arguments)

        monkeypatch.setattr(schedule, name, count)
    settings = Settings(home=tmp_path / 'home', project=project, heartbeat_seconds=0.1)
    engine = open_database(settings.database_dsn)
    states = [step.state for step in run_pipeline(settings, engine, 'all')]
    assert states == ['succeeded'] * 3
    assert set(reads.values()) == {1}
    assert reads.keys() >= {('load_schedule',), ('read_shared_defaults',), ('load_job', 'three')}
