"Final tables of the Premier League and the matches behind them, bundled with the package."

import polars as pl

from football_pred.ingest.open_sources import BundledSource

# Places and points, compared with published tables: 2014/15 to 2023/24 with the standings in the
# public repository shreyansh7411/footinfo (backend/data/prem/standings), 2024/25 with
# Sports Illustrated, 'Final Standings: Placings, Points'
FINAL_TABLES = {
    '1415': (
        "Chelsea 87; Man City 79; Arsenal 75; Man United 70; Tottenham 64; Liverpool 62; "
        "Southampton 60; Swansea 56; Stoke 54; Crystal Palace 48; Everton 47; West Ham 47; "
        "West Brom 44; Leicester 41; Newcastle 39; Sunderland 38; Aston Villa 38; Hull 35; "
        "Burnley 33; QPR 30"
    ),
    '1516': (
        "Leicester 81; Arsenal 71; Tottenham 70; Man City 66; Man United 66; Southampton 63; "
        "West Ham 62; Liverpool 60; Stoke 51; Chelsea 50; Everton 47; Swansea 47; Watford 45; "
        "West Brom 43; Crystal Palace 42; Bournemouth 42; Sunderland 39; Newcastle 37; "
        "Norwich 34; Aston Villa 17"
    ),
    '1617': (
        "Chelsea 93; Tottenham 86; Man City 78; Liverpool 76; Arsenal 75; Man United 69; "
        "Everton 61; Southampton 46; Bournemouth 46; West Brom 45; West Ham 45; Leicester 44; "
        "Stoke 44; Crystal Palace 41; Swansea 41; Burnley 40; Watford 40; Hull 34; "
        "Middlesbrough 28; Sunderland 24"
    ),
    '1718': (
        "Man City 100; Man United 81; Tottenham 77; Liverpool 75; Chelsea 70; Arsenal 63; "
        "Burnley 54; Everton 49; Leicester 47; Newcastle 44; Crystal Palace 44; "
        "Bournemouth 44; West Ham 42; Watford 41; Brighton 40; Huddersfield 37; "
        "Southampton 36; Swansea 33; Stoke 33; West Brom 31"
    ),
    '1819': (
        "Man City 98; Liverpool 97; Chelsea 72; Tottenham 71; Arsenal 70; Man United 66; "
        "Wolves 57; Everton 54; Leicester 52; West Ham 52; Watford 50; Crystal Palace 49; "
        "Newcastle 45; Bournemouth 45; Burnley 40; Southampton 39; Brighton 36; Cardiff 34; "
        "Fulham 26; Huddersfield 16"
    ),
    '1920': (
        "Liverpool 99; Man City 81; Man United 66; Chelsea 66; Leicester 62; Tottenham 59; "
        "Wolves 59; Arsenal 56; Sheffield United 54; Burnley 54; Southampton 52; Everton 49; "
        "Newcastle 44; Crystal Palace 43; Brighton 41; West Ham 39; Aston Villa 35; "
        "Bournemouth 34; Watford 34; Norwich 21"
    ),
    '2021': (
        "Man City 86; Man United 74; Liverpool 69; Chelsea 67; Leicester 66; West Ham 65; "
        "Tottenham 62; Arsenal 61; Leeds 59; Everton 59; Aston Villa 55; Newcastle 45; "
        "Wolves 45; Crystal Palace 44; Southampton 43; Brighton 41; Burnley 39; Fulham 28; "
        "West Brom 26; Sheffield United 23"
    ),
    '2122': (
        "Man City 93; Liverpool 92; Chelsea 74; Tottenham 71; Arsenal 69; Man United 58; "
        "West Ham 56; Leicester 52; Brighton 51; Wolves 51; Newcastle 49; Crystal Palace 48; "
        "Brentford 46; Aston Villa 45; Southampton 40; Everton 39; Leeds 38; Burnley 35; "
        "Watford 23; Norwich 22"
    ),
    '2223': (
        "Man City 89; Arsenal 84; Man United 75; Newcastle 71; Liverpool 67; Brighton 62; "
        "Aston Villa 61; Tottenham 60; Brentford 59; Fulham 52; Crystal Palace 45; Chelsea 44; "
        "Wolves 41; West Ham 40; Bournemouth 39; Nott'm Forest 38; Everton 36; Leicester 34; "
        "Leeds 31; Southampton 25"
    ),
    '2324': (
        "Man City 91; Arsenal 89; Liverpool 82; Aston Villa 68; Tottenham 66; Chelsea 63; "
        "Newcastle 60; Man United 60; West Ham 52; Crystal Palace 49; Brighton 48; "
        "Bournemouth 48; Fulham 47; Wolves 46; Everton 40; Brentford 39; Nott'm Forest 32; "
        "Luton 26; Burnley 24; Sheffield United 16"
    ),
    '2425': (
        "Liverpool 84; Arsenal 74; Man City 71; Chelsea 69; Newcastle 66; Aston Villa 66; "
        "Nott'm Forest 65; Brighton 61; Bournemouth 56; Brentford 56; Fulham 54; "
        "Crystal Palace 53; Everton 48; West Ham 43; Man United 42; Wolves 42; Tottenham 38; "
        "Leicester 25; Ipswich 22; Southampton 12"
    ),
}


def premier_league_season(season: str) -> pl.DataFrame:
    "Matches of a season of the Premier League: teams, goals and league."
    source = BundledSource()
    request = source.plan(['E0'], [season])[0]
    matches = source.parse(source.fetch(request), request).matches
    return matches.select(
        'home_team',
        'away_team',
        pl.col('home_goals', 'away_goals').cast(pl.Int64),
        league=pl.lit('E0'),
    )
