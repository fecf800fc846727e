"Fixtures of the tests of the exporter."

from tests.support.exporter_day import day

__all__ = ['day']
