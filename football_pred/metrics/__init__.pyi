from .catalog import METRIC_CATALOG as METRIC_CATALOG
from .catalog import metric_table as metric_table
from .exporter import Exporter as Exporter
from .exporter import create_exporter_app as create_exporter_app
