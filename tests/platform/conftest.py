"Fixtures of the tests of the platform."

from tests.support.exporter_day import day

__all__ = ['day']
