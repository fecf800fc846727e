"""Attacks on the ledger as a table: python tests/benchmarks/attack_table.py

Runs the tests of attacks and prints for each attack whose hands it is by, whether it was caught, by what, and the sentence. The exit code is that of the tests.
"""

import sys
from pathlib import Path
from typing import Any

import pytest

import tests.support.ledgers as ledgers
from football_pred.forecasts.ledger_verification import LedgerVerification, verify_ledger

ATTACKS = Path(__file__).parents[1] / 'unit/forecasts/test_ledger_attacks.py'
LONGEST_SENTENCE = 150  # characters
CONTROLS = (  # are no attacks
    'nothing_is_wrong_before',
    'changes_nothing',
    'are_no_alarm',
    'scores_follow',
    'are_none',
    'may_only_insert',
    'is_verified',
)


class Recorder:
    "Sentences of the test that runs, by what said them."

    def __init__(self) -> None:
        self.sentences: dict[str, str] = {}
        self.rows: list[tuple[str, str, str, str, str]] = []

    def verify(self, *arguments: Any, **options: Any) -> LedgerVerification:
        "Verify a ledger and remember the first problem."
        result = verify_ledger(*arguments, **options)
        outside = {'kept_heads', 'public_keys'} & options.keys()
        by = 'verification with a head or key from elsewhere' if outside else 'verification'
        for sentence in [*result.problems[:1], *([] if result.problems else result.notes[-1:])]:
            self.sentences.setdefault(by, sentence)
        return result

    def raises(self, *arguments: Any, **options: Any) -> 'Refusal':
        return Refusal(self, original_raises(*arguments, **options))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for module in {item.module for item in items if isinstance(item, pytest.Function)}:
            module.verify_ledger = self.verify

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.sentences.clear()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != 'call':
            return
        name = report.nodeid.partition('::test_')[2]
        if any(control in name for control in CONTROLS):
            return
        state = {'passed': 'caught', 'skipped': 'not tried'}.get(report.outcome, 'MISSED')
        hands = dict(report.user_properties).get('hands', '')
        (by, sentence) = next(iter(self.sentences.items()), ('test', 'see the test'))
        self.rows.append((hands, name.replace('_', ' '), state, by, ' '.join(sentence.split())))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        names = getattr(item, 'fixturenames', [])
        hands = 'owner of the tables' if 'postgresql' in names else 'files'
        hands = "writer's role" if 'writer' in names else hands
        item.user_properties.append(('hands', hands))


class Refusal:
    "What a test expects to be raised; its text is remembered."

    def __init__(self, recorder: Recorder, context: Any) -> None:
        self.recorder = recorder
        self.context = context

    def __enter__(self) -> Any:
        return self.context.__enter__()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> Any:
        cause = getattr(error, 'orig', error)
        self.recorder.sentences.setdefault('refused', str(cause).split('\n')[0])
        return self.context.__exit__(kind, error, traceback)


original_raises = pytest.raises


def main() -> int:
    "Run the attacks and print the table."
    recorder = Recorder()
    ledgers.verify_ledger = recorder.verify
    pytest.raises = recorder.raises
    code = pytest.main(['-q', '-p', 'no:cacheprovider', '-n', '0', str(ATTACKS)], [recorder])
    for row in sorted(recorder.rows):
        hands, attack, state, by, sentence = row
        print(f'| {hands} | {attack} | {state} | {by} | {sentence[:LONGEST_SENTENCE]} |')
    states = [row[2] for row in recorder.rows]
    counts = ', '.join(f'{states.count(state)} {state}' for state in sorted({*states}))
    print(f'{len(states)} attacks: {counts}')
    return int(code)


if __name__ == '__main__':
    sys.exit(main())
