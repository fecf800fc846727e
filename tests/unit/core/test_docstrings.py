"Docstrings are completed from the source when a name is requested from a public face, not before."

import inspect
import subprocess
import sys

import pytest


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_plain_import_reads_no_source():
    code = (
        'import sys, football_pred.models.dixon_coles as module\n'
        "print('football_pred.core.docstrings' in sys.modules)\n"
        "print('Parameters' in module.DixonColes.fit.__doc__)"
    )
    assert run_python(code).split() == ['False', 'False']


def test_a_method_shows_its_parameters():
    from football_pred.models import DixonColes

    doc = DixonColes.fit.__doc__
    lines = [line.strip() for line in doc.splitlines()]
    assert lines.index('Parameters') < lines.index('Returns')
    parameters = list(inspect.signature(DixonColes.fit).parameters)[1:]
    documented = [line.partition(' : ')[0] for line in lines if ' : ' in line]
    assert documented == parameters


def test_a_function_shows_comments_and_notes_in_order():
    from football_pred.core import read_matches

    doc = read_matches.__doc__
    assert '    UTC; results known later are masked\n' in doc
    assert doc.index('Parameters') < doc.index('Returns\n') < doc.index('Raises: ValueError')


@pytest.mark.parametrize(
    ('module', 'name', 'text'),
    [
        ('backup', 'RestoredBackup', 'Attributes\n----------\nname : str\n    of the backup'),
        ('docstrings', 'Entry', 'Attributes\n----------\nname : str\n    empty for a return value'),
        ('database', 'write_transaction', 'Returns\n-------\nIterator[Connection]\n    connection'),
    ],
)
def test_classes_and_context_managers_are_documented(module, name, text):
    from importlib import import_module

    from football_pred.core.docstrings import complete_docstrings

    loaded = import_module(f'football_pred.core.{module}')
    complete_docstrings(loaded)
    first = getattr(loaded, name).__doc__
    complete_docstrings(loaded)  # a second time changes nothing
    assert getattr(loaded, name).__doc__ == first
    assert text in first


def test_comments_of_signatures_in_one_line_belong_to_the_return_value():
    import ast

    from football_pred.core.docstrings import Entry, _parameters, _read_comments, _return_value

    source = 'def f(self, league: str) -> int:  # matches\n    "Count."\n'
    [function] = ast.parse(source).body
    comments = _read_comments(source)
    assert _parameters(function, comments) == [Entry('league', 'str', '')]
    assert _return_value(function, comments) == Entry('', 'int', 'matches')


def test_every_module_can_be_completed():
    code = (
        'import football_pred, importlib, pkgutil\n'
        'from football_pred.core.docstrings import complete_docstrings\n'
        "packages = ('core', 'markets', 'models', 'evaluation')\n"
        'for package in packages:\n'
        "    path = [f'{football_pred.__path__[0]}/{package}']\n"
        '    for module in pkgutil.iter_modules(path):\n'
        "        name = f'football_pred.{package}.{module.name}'\n"
        '        complete_docstrings(importlib.import_module(name))\n'
        "print('done')"
    )
    assert run_python(code) == 'done\n'
