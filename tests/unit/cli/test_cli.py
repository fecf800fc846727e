"The command line: light imports, one-line errors, exit codes, and the commands of models."

import json
import os
import subprocess
import sys

import pytest
from sqlalchemy import select

from football_pred.core.database import open_database
from football_pred.core.schema import audit_log
from football_pred.core.settings import Settings
from tests.support.warm import warm_command

HEAVY = (
    'papermill',
    'polars',
    'pandas',
    'sqlalchemy',
    'matplotlib',
    'sklearn',
    'pydantic',
    'numpy',
    'mlflow',
)


def call(home, *arguments, **env):
    return subprocess.run(
        [*warm_command(), *arguments],
        text=True,
        capture_output=True,
        env=os.environ | {'FOOTBALL_HOME': str(home)} | env,
    )


def test_help_imports_nothing_heavy():
    code = (
        'import sys\n'
        'from football_pred.cli import cli\n'
        'cli(["--help"], standalone_mode=False)\n'
        f'print([name for name in {HEAVY} if name in sys.modules])'
    )
    output = subprocess.run(
        [sys.executable, '-c', code], text=True, capture_output=True, check=True
    ).stdout
    assert output.strip().endswith('[]')
    commands = ('run', 'status', 'runs', 'predict', 'names', 'ledger', 'models')
    assert all(name in output for name in commands)


def test_help_of_every_command_fits_the_list():
    from football_pred.cli import cli

    groups = [cli, *(command for command in cli.commands.values() if hasattr(command, 'commands'))]
    for group in groups:
        for command in group.commands.values():
            help_text = command.get_short_help_str(1000)
            assert 0 < len(help_text) <= 60, (group.name, command.name, help_text)


def test_help_of_run_lists_jobs_and_pipelines(tmp_path):
    output = ' '.join(call(tmp_path, 'run', '--help').stdout.split())
    assert 'Parameters of train, with their values and where they come from' in output
    assert "leagues ['E0'] (params/defaults.yaml)" in output
    assert 'Pipelines: daily' in output


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('run', 'dialy'), "unknown job or pipeline 'dialy'; did you mean daily?"),
        (('run', 'train', '-p', 'half_live', '3'), "has a parameter 'half_live'"),
        (
            ('run', 'predict', '-p', 'days', 'many'),
            "parameter days of job predict is int (Days ahead), got 'many'",
        ),
        (('run', 'collect', '-p', 'seasons', '[2526]'), 'put it in quotes'),
        (('run', 'train', '-p', 'arguments', '{a: ['), 'is not a YAML value'),
        (('run', 'daily', '--as-of', '1/4/2026'), "--as-of: '1/4/2026' is not a moment"),
        (('predict', 'Arsenal', 'Everton', '--league', 'X9'), "unknown league 'X9'"),
        (('predict', 'Arsenal', 'Everton'), "Missing option '--league'"),
        (('runs', '--job', 'tarin'), "unknown job 'tarin'; did you mean train?"),
        (('fly',), "No such command 'fly'"),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, tuple) else '',
)
def test_a_mistake_is_answered_in_one_line(tmp_path, arguments, message):
    result = call(tmp_path / 'home', *arguments)
    assert result.returncode == 2, result.stderr
    assert message in ' '.join(result.stderr.split())
    assert 'Traceback' not in result.stderr


def test_wrong_setting_is_named(tmp_path):
    result = call(tmp_path, 'status', FOOTBALL_JOB_TIMEOUT='soon')
    assert (
        result.returncode,
        'FOOTBALL_JOB_TIMEOUT' in result.stderr,
        "'soon'" in result.stderr,
    ) == (2, True, True)


def test_wrong_project_is_named(tmp_path):
    result = call(tmp_path, 'run', 'daily', FOOTBALL_PROJECT=str(tmp_path))
    assert (result.returncode, 'Set FOOTBALL_PROJECT to its folder' in result.stderr) == (2, True)


def test_empty_home_is_no_error(tmp_path):
    messages = {
        ('status',): 'forecasts: 0 live, 0 of them settled; 0 replays, 0 of them settled',
        ('runs',): 'no run yet',
        ('names',): 'every name is known',
        ('models',): 'no model yet',
    }
    for arguments, message in messages.items():
        result = call(tmp_path / 'home', *arguments)
        assert (result.returncode, message in result.stdout) == (0, True), result.stderr


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A home in which the models of one season are trained."
    home = tmp_path_factory.mktemp('trained')
    for job in ('collect', 'clean', 'train'):
        result = call(
            home, 'run', job, *(('-p', 'seasons', "['2425', '2526']") if job != 'train' else ())
        )
        assert result.returncode == 0, result.stdout + result.stderr
    return home


def test_predict_prints_probabilities_model_and_moment(trained):
    result = call(trained, 'predict', 'arsenal', 'Manchester City', '--league', 'E0', '--json')
    answer = json.loads(result.stdout)
    assert (answer['home_team'], answer['away_team'], answer['as_of'][:10]) == (
        'Arsenal',
        'Man City',
        '2026-04-01',
    )
    assert sum(answer['probabilities'].values()) == pytest.approx(1)
    assert (
        answer['probabilities'][answer['predicted_result']]
        == answer['confidence']
        == max(answer['probabilities'].values())
    )
    assert (
        'Arsenal - Man City (E0)'
        in call(trained, 'predict', 'arsenal', 'Manchester City', '--league', 'E0').stdout
    )


@pytest.mark.parametrize(
    ('teams', 'message'),
    [
        (('Arsnal', 'Everton'), "unknown team 'Arsnal' in league E0; did you mean Arsenal?"),
        (('Arsenal', 'Arsenal'), 'Arsenal cannot play itself'),
    ],
)
def test_predict_names_what_is_wrong(trained, teams, message):
    result = call(trained, 'predict', *teams, '--league', 'E0')
    assert (result.returncode, message in result.stderr) == (2, True), result.stderr


def test_a_club_without_a_match_gets_a_forecast(trained):
    result = call(trained, 'predict', 'Cardiff', 'Huddersfield Town', '--league', 'E0', '--json')
    assert 0.3 < json.loads(result.stdout)['probabilities']['home_win'] < 0.6


def test_a_changed_model_file_is_refused_and_brought_back(trained):
    models = Settings(home=trained).models_folder
    path = (
        models
        / 'versions'
        / f"{json.loads((models / 'champion-E0.json').read_text())['version']}.json"
    )
    path.write_text(path.read_text() + ' ')
    result = call(trained, 'predict', 'Arsenal', 'Everton', '--league', 'E0')
    assert (result.returncode, 'was changed after it was kept' in result.stderr) == (2, True)
    assert call(trained, 'models').returncode == 0
    assert call(trained, 'predict', 'Arsenal', 'Everton', '--league', 'E0').returncode == 0


def test_a_model_is_compared_promoted_refused_and_rolled_back(trained):
    passed = call(trained, 'models', 'compare', 'E0', '1')  # the champion's own recipe
    assert (
        passed.returncode,
        'E0-dixon-coles' in passed.stdout,
        'passed the gate' in passed.stdout,
    ) == (
        0,
        True,
        True,
    ), passed.stdout + passed.stderr
    absurd = call(
        trained,
        'run',
        'train',
        '-p',
        'model',
        'DixonColes',
        '-p',
        'arguments',
        '{ridge: 100000}',
    )
    assert absurd.returncode == 0, absurd.stdout
    assert 'candidates 2' in ' '.join(absurd.stdout.split())
    status = call(trained, 'status').stdout
    assert 'champion of E0: E0-dixon-coles ' in status
    assert 'challenger E0-dixon-coles-' in status
    refused = call(trained, 'models', 'promote', 'E0')
    assert (
        refused.returncode,
        'RPS less that of the champion' in refused.stdout,
        'refused by the gate' in refused.stdout,
    ) == (1, True, True)
    assert 'say why' in call(trained, 'models', 'promote', 'E0', '--force').stderr
    forced = call(trained, 'models', 'promote', 'E0', '--force', '--reason', 'a trial')
    assert (forced.returncode, 'champion of E0: E0-dixon-coles-' in forced.stdout) == (0, True), (
        forced.stdout + forced.stderr
    )
    listed = call(trained, 'models').stdout
    assert all(name in listed for name in ('E0-dixon-coles', 'E0-goals-only', 'champion'))
    assert 'champion of E0: E0-dixon-coles-' in listed
    assert 'a trial (refused by the gate' in listed
    restored = call(trained, 'models', 'rollback', 'E0', '--reason', 'it was a trial')
    assert (restored.returncode, restored.stdout.startswith('champion of E0: E0-dixon-coles ')) == (
        0,
        True,
    ), restored.stdout + restored.stderr
    with open_database(Settings(home=trained).database_dsn).connect() as connection:
        entries = [
            (row.actor == 'job train', row.action, row.detail['reason'])
            for row in connection.execute(select(audit_log))
        ]
    assert [entry[:2] for entry in entries] == [
        (True, 'promote'),
        (False, 'promote'),
        (False, 'rollback'),
    ]
    assert entries[1][2].startswith('a trial (refused by the gate: RPS less that of the champion')


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [('{ridge: 0, half_life: 0.1}', 'no fit: '), ('{ridge: 0}', 'no trial: Model ')],
    ids=['fit', 'trial'],
)
def test_a_model_that_does_not_converge_is_refused_and_the_others_go_on(trained, arguments, reason):
    result = call(
        trained, 'run', 'train', '-p', 'model', 'DixonColes', '-p', 'arguments', arguments
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'candidates refused 1' in ' '.join(result.stdout.split())
    page = max(
        (trained / 'reports').rglob('train.html'), key=lambda path: path.stat().st_mtime_ns
    ).read_text()
    assert f'refused: {reason}' in page
    assert 'has scored no goal, so it has no finite estimate; use ridge &gt; 0' in page
    assert 'E0-dixon-coles is chosen, the only candidate' in page
    status = call(trained, 'status').stdout
    assert 'champion of E0: E0-dixon-coles ' in status


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('compare', 'E9'), 'did you mean E0?'),
        (('promote', 'E0', '99'), "no version '99'"),
        (('rollback', 'E9', '--reason', 'x'), 'did you mean E0?'),
    ],
)
def test_a_wrong_league_or_version_is_named(trained, arguments, message):
    result = call(trained, 'models', *arguments)
    assert (result.returncode, message in result.stderr) == (2, True), result.stderr


def test_hindsight_is_refused(trained):
    "A model that learned from results up to April may not forecast from March."
    assert call(trained, 'run', 'features').returncode == 0
    result = call(trained, 'run', 'predict', '--as-of', '2026-03-01T00:00Z')
    assert (result.returncode, 'later than as_of' in result.stdout) == (1, True), result.stdout
