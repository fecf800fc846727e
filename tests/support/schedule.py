"""The order of test files, and which of them two workers share.

`pytest -n 2 --dist loadfile` keeps a file on one worker, since its tests share what takes long to
set up. It starts files with many tests first; here those that take long are first, and the tests
of files that set up nothing come last, one by one, to whichever worker is free.
"""

import pytest
from xdist.scheduler import LoadFileScheduling

LONG = (  # the longest first
    'platform/test_daily.py',
    'platform/test_verify.py',
    'platform/test_monitoring.py',
    'platform/test_live.py',
    'platform/test_resilience.py',
    'unit/jobs/test_workers.py',
    'unit/events/test_stream.py',
    'unit/cli/test_cli.py',
    'unit/registry/test_registry.py',
    'unit/api/test_serving.py',
    'unit/api/test_page.py',
    'platform/test_stack.py',
    'unit/jobs/test_runner.py',
    'unit/core/test_database.py',
    'unit/evaluation/test_leakage.py',
    'unit/metrics/test_exporter.py',
    'unit/core/test_backup.py',
    'unit/features/test_feature_store.py',
)
SHARED = ('house/test_house.py', 'house/test_notebooks.py', 'house/test_plain_code.py')


def file_rank(file: str) -> int:
    "Place of a test file: those that take long, all others, and those that workers share."
    if file.endswith(SHARED):
        return len(LONG) + 1
    return next((rank for rank, name in enumerate(LONG) if file.endswith(name)), len(LONG))


def sort_tests(items: list[pytest.Item]) -> None:
    "Sort tests by their files."
    items.sort(key=lambda item: file_rank(item.nodeid.partition('::')[0]))


class FileScheduling(LoadFileScheduling):
    "Files as they are sorted, and single tests of those that workers share."

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition('::')[0]
        return nodeid if file.endswith(SHARED) else file
