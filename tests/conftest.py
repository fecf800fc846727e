"What several test files need: a folder to write to, a database in it, and the real data where they are at hand."
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from football_pred.store import open_database

@pytest.fixture
def home(tmp_path: Path) -> Path:
    "A new folder for everything that a test writes."
    folder = tmp_path/'home'
    folder.mkdir()
    return folder


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    "An empty database with every table, in a SQLite file."
    engine = open_database(f"sqlite:///{home/'football.db'}")
    yield engine
    engine.dispose()


@pytest.fixture(scope='session')
def shared_data() -> Path:
    "Folder of real match data, which is no part of the project."
    beside_checkout = Path(__file__).parents[2]/'shared/data'
    folder = Path(os.environ.get('FOOTBALL_SHARED_DATA', beside_checkout))
    if not folder.is_dir(): pytest.skip(f'real data are not at hand: {folder} does not exist (FOOTBALL_SHARED_DATA)')
    return folder
