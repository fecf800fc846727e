"""Sealing, verification, export and receipts of a ledger of many entries: python tests/benchmarks/bench_ledger.py 10000 1000000

Seconds are those of the processor and, in brackets, of the clock on the wall; memory is the largest of the process. Each measurement is a process of its own.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from football_pred.core import schema
from football_pred.core.database import open_database, open_read_only, write_transaction
from football_pred.core.ledger_log import (
    HeadFile,
    append_entries,
    begin_entries,
    forecast_entry,
    read_heads,
    settlement_entry,
)
from football_pred.core.schema import GENESIS_SEAL
from football_pred.forecasts.ledger import compute_seal, compute_settlement_seal
from football_pred.forecasts.ledger_export import export_ledger, forecast_receipt
from football_pred.forecasts.ledger_verification import verify_ledger
from football_pred.forecasts.sample_ledger import ledger_matches, store_ledger_matches

BATCH = 3000  # entries of a transaction


def forecast_rows(number: int, matches: list[dict[str, Any]], at: datetime) -> Iterator[dict]:
    "Forecasts of one batch without their place in the chain."
    for i in range(BATCH):
        match = matches[i % len(matches)]
        p_home = 0.3 + (number * BATCH + i) % 1000 / 5000
        yield dict(
            prediction_id=f'{number * BATCH + i:032x}',
            **{name: match[name] for name in ('match_id', 'league', 'season')},
            home_team=match['home_team'],
            away_team=match['away_team'],
            kickoff=match['kickoff'],
            model='SIM-dixon-coles',
            model_version=f'{number}-{i // len(matches)}',
            as_of=at,
            created_at=at,
            p_home=p_home,
            p_draw=0.25,
            p_away=1 - 0.25 - p_home,
            home_rate=1.5,
            away_rate=1.2,
            predicted_result='home_win' if p_home >= 0.75 - p_home else 'away_win',
            confidence=max(p_home, 1 - 0.25 - p_home),
            data_fingerprint='d' * 64,
            feature_fingerprint='f' * 64,
            run_id='bench',
            kind='live',
        )


def settlement_row(forecast: dict[str, Any], at: datetime) -> dict[str, Any]:
    "The score of a forecast by a home win of 2-1."
    from football_pred.core.ledger_checks import score_forecast

    probabilities = [forecast[name] for name in ('p_home', 'p_draw', 'p_away')]
    scores = score_forecast(probabilities, forecast['predicted_result'], 2, 1)
    row = dict(
        prediction_id=forecast['prediction_id'],
        revision=1,
        settled_as_of=at,
        home_goals=2,
        away_goals=1,
        **scores._asdict(),
        run_id='bench',
        payload_sha256='ab' * 32,
    )
    return row | {'seal': compute_settlement_seal(row, forecast['seal'])}


def seal_batch(engine, heads: HeadFile, number: int, matches, chain: list) -> list[dict]:
    "Seal 3,000 forecasts in one transaction, as the job does; return what is scored of them."
    with write_transaction(engine) as connection:
        at = begin_entries(connection)
        rows = []
        for row in forecast_rows(number, matches, at):
            row |= {'sequence': chain[0] + 1, 'previous_seal': chain[1]}
            row['seal'] = compute_seal({name: row[name] for name in row if name != 'kind'})
            chain[:] = row['sequence'], row['seal']
            rows.append(row)
        connection.execute(schema.predictions.insert(), rows)
        head = append_entries(connection, heads, [*map(forecast_entry, rows)], at)
    heads.keep(head)
    kept = ('prediction_id', 'seal', 'p_home', 'p_draw', 'p_away', 'predicted_result', 'kickoff')
    scored = {match['match_id'] for match in matches[:4]}
    return [{name: row[name] for name in kept} for row in rows if row['match_id'] in scored]


def score_batch(engine, heads: HeadFile, forecasts: list[dict]) -> None:
    "Score forecasts in one transaction, as the job does."
    with write_transaction(engine) as connection:
        at = begin_entries(connection)
        rows = [settlement_row(row, row['kickoff'] + timedelta(hours=2)) for row in forecasts]
        connection.execute(schema.settlements.insert(), rows)
        head = append_entries(connection, heads, [*map(settlement_entry, rows)], at)
    heads.keep(head)


def fill(folder: Path, entries: int) -> dict[str, float]:
    "Seal forecasts of eight matches, then score those of four; the guards of the database are there."
    engine = open_database(f'sqlite:///{folder}/football.db')
    heads = HeadFile(folder / 'ledger-heads.jsonl')
    as_of = datetime.now(UTC)
    season = ledger_matches(as_of + timedelta(days=30))
    store_ledger_matches(engine, season, as_of)
    matches = season.tail(8).to_dicts()
    chain = [0, GENESIS_SEAL]
    scored = []
    for number in range(forecast_batches(entries)):
        scored += seal_batch(engine, heads, number, matches, chain)
    for start in range(0, len(scored), BATCH):
        score_batch(engine, heads, scored[start : start + BATCH])
    engine.dispose()
    size = (folder / 'football.db').stat().st_size
    return {'bytes': size, 'entries': chain[0] + len(scored) + 1}


def forecast_batches(entries: int) -> int:
    "Batches of forecasts in a ledger of so many entries; half of them are scored."
    return round(entries * 2 / 3 / BATCH)


def verify(folder: Path, entries: int) -> dict[str, float]:
    engine = open_read_only(f'sqlite:///{folder}/football.db')
    result = verify_ledger(engine, HeadFile(folder / 'ledger-heads.jsonl'))
    assert result.problems == [], result.problems[:3]
    return {'entries': result.entries}


def verify_since(folder: Path, entries: int) -> dict[str, float]:
    "Verify the last batch alone."
    engine = open_read_only(f'sqlite:///{folder}/football.db')
    with engine.connect() as connection:
        size = read_heads(connection)[-2]['size']
    start = time.perf_counter()
    result = verify_ledger(engine, HeadFile(folder / 'ledger-heads.jsonl'), since=size)
    assert result.problems == [], result.problems[:3]
    return {'entries': result.entries - size, 'milliseconds': 1000 * (time.perf_counter() - start)}


def export(folder: Path, entries: int) -> dict[str, float]:
    engine = open_read_only(f'sqlite:///{folder}/football.db')
    summary = export_ledger(engine, folder / 'export')
    return {'entries': summary.entries, 'bytes': summary.size}


def export_tables(folder: Path, entries: int) -> dict[str, float]:
    engine = open_read_only(f'sqlite:///{folder}/football.db')
    summary = export_ledger(engine, folder / 'tables', 'parquet')
    size = sum(path.stat().st_size for path in summary.folder.glob('*.parquet'))
    return {'entries': summary.entries, 'bytes': size}


def receipts(folder: Path, entries: int) -> dict[str, float]:
    engine = open_read_only(f'sqlite:///{folder}/football.db')
    ids = [f'{i * 7 % (forecast_batches(entries) * BATCH):032x}' for i in range(200)]
    start = time.perf_counter()
    for prediction_id in ids:
        forecast_receipt(engine, prediction_id)
    return {'milliseconds': 1000 * (time.perf_counter() - start) / len(ids)}


STEPS = {f.__name__: f for f in (fill, verify, verify_since, export, export_tables, receipts)}


def measure(command: list[str]) -> dict[str, float]:
    "Seconds and memory of a process, and what it prints as JSON."
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    wrapped = [sys.executable, '-c', MEASURED, *command]
    result = subprocess.run(wrapped, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures = {'processor': seconds, 'wall': time.perf_counter() - start}
    return figures | json.loads(result.stdout.splitlines()[-1])


MEASURED = """
import json, resource, subprocess, sys
result = subprocess.run(sys.argv[1:], capture_output=True, text=True)
sys.stderr.write(result.stderr)
memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
lines = result.stdout.splitlines()
figures = json.loads(lines[-1]) if lines and lines[-1].startswith('{') else {}
if not figures and result.returncode:
    sys.stderr.write(result.stdout)
print(json.dumps({'megabytes': memory} | figures))
sys.exit(result.returncode)
"""


def measure_all(entries: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix='ledger') as name:
        folder = Path(name)
        figures = {}
        for step in STEPS:
            figures[step] = measure([sys.executable, __file__, step, name, str(entries)])
            print(f'{entries:,} {step}: {figures[step]}', flush=True)
        figures['verify_ledger.py'] = measure(
            [sys.executable, '-I', f'{name}/export/verify_ledger.py', f'{folder}/export']
        )
        print(f'{entries:,} verify_ledger.py: {figures["verify_ledger.py"]}', flush=True)
    return figures


def main() -> None:
    if sys.argv[1] in STEPS:
        figures = STEPS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
        print(json.dumps(figures))
        return
    sizes = [int(text) for text in sys.argv[1:]]
    results = {size: measure_all(size) for size in sizes}
    first = results[sizes[0]]
    columns = ('processor', 'wall', 'megabytes', 'bytes', 'milliseconds')
    for step in first:
        print(f'\n{step}')
        for column in columns:
            values = [results[size][step].get(column) for size in sizes]
            if values[0]:
                cells = '  '.join(f'{value:>16,.1f}' for value in values)
                print(f'  {column:<13}{cells}   x {values[-1] / values[0]:,.1f}')


if __name__ == '__main__':
    main()
