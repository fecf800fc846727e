"Write the empty database of the installed MLflow to football_pred/data/mlflow_schema.sql."

import sqlite3
import tempfile
from pathlib import Path

import mlflow
from mlflow.store.db.utils import _initialize_tables
from sqlalchemy import create_engine

TARGET = Path(__file__).parents[1] / 'football_pred/data/mlflow_schema.sql'


def migrated_schema() -> str:
    "Migrate an empty database as MLflow does, and write it as SQL; the first line is the version."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'mlflow.db'
        engine = create_engine(f'sqlite:///{path}')
        _initialize_tables(engine)
        engine.dispose()
        connection = sqlite3.connect(path)
        statements = list(connection.iterdump())
        connection.close()
    indexes = sorted(line for line in statements if line.startswith('CREATE INDEX'))
    others = [line for line in statements if not line.startswith('CREATE INDEX')]
    lines = [f'-- MLflow {mlflow.__version__}', *others[:-1], *indexes, others[-1]]
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    TARGET.write_text(migrated_schema())
