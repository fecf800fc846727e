from .entry_point import cli as cli
from .entry_point import main as main
