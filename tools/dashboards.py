"""Writes the dashboards in monitoring/grafana/dashboards: `python tools/dashboards.py`; with --check it only compares."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)

FOLDER = Path(__file__).parents[1] / 'monitoring/grafana/dashboards'
SOURCE = DataSourceRef(type_val='prometheus', uid='prometheus')
GOOD, SO_SO, BAD = 'green', 'orange', 'red'


@dataclass(frozen=True)
class Panel:
    "Queries of one panel, and how Grafana displays them."

    title: str
    about: str  # Description, shown behind the i
    queries: dict[str, str]  # PromQL by legend
    unit: str = 'short'  # Of Grafana
    limits: tuple[tuple[float | None, str], ...] = (
        (None, GOOD),
    )  # From which value on which colour; the first from anywhere
    kind: str = 'lines'  # Or 'number'
    wide: int = 12  # Of 24
    decimals: int | None = None
    bounds: tuple[float | None, float | None] = (None, None)  # Of the axis


@dataclass(frozen=True)
class Board:
    "One dashboard."

    uid: str
    title: str
    about: str
    rows: dict[str, list[Panel]]
    variables: dict[str, str] = field(
        default_factory=dict
    )  # Metric whose label of that name is chosen from
    since: str = 'now-24h'


OWN = '{league=~"$league", model=~"$model", matches="all", forecaster="model"}'
ALL = '{league=~"$league", model=~"$model", matches="all"}'
PRICED = '{league=~"$league", model=~"$model", matches="priced"}'
MARKET = '{league=~"$league", model=~"$model", against="market"}'
CHAMPION = '{league=~"$league", against="champion"}'
OURS = '{league=~"$league", model=~"$model"}'
LEAGUE = '{league=~"$league"}'
SOURCES = '{data_source=~"$data_source"}'

BOARDS = [
    Board(
        'football_prediction_performance',
        'Football prediction performance',
        'Performance of the forecasts, and the state of the data that they depend on.',
        {
            'At a glance': [
                Panel(
                    'Prediction accuracy',
                    'Share of settled live forecasts whose most likely outcome occurred, over the latest 200 matches of each model; replays do not '
                    'count. Always home scores '
                    'about 43 %, the closing line about 53 %.',
                    {'{{model}}': f'football_rolling_accuracy_ratio{OWN}'},
                    unit='percentunit',
                    limits=((None, BAD), (0.45, SO_SO), (0.48, GOOD)),
                    kind='number',
                    wide=6,
                    decimals=1,
                ),
                Panel(
                    'Data collection',
                    'Fetches of the last 24 hours, by status. Unchanged pages are not downloaded again.',
                    {
                        '{{status}}': 'sum by (status) (increase(football_data_collection_total[24h]))'
                    },
                    kind='number',
                    wide=6,
                    decimals=0,
                ),
                Panel(
                    'Data cleaning',
                    'Runs of the job clean, by state.',
                    {'{{status}}': 'sum by (status) (football_data_cleaning_total)'},
                    kind='number',
                    wide=4,
                    decimals=0,
                ),
                Panel(
                    'Scheduler',
                    'Time since the last success of each job.',
                    {
                        '{{job}}': 'time() - max by (job) (football_job_last_success_timestamp_seconds)'
                    },
                    unit='s',
                    limits=((None, GOOD), (93600, SO_SO), (108000, BAD)),
                    kind='number',
                    wide=8,
                    decimals=0,
                ),
            ],
            'Performance': [
                Panel(
                    'RPS against the market',
                    'Mean ranked probability score of the latest matches with a closing price. Lower is better; the market is the closing '
                    'line without its margin.',
                    {'{{model}}: {{forecaster}}': f'football_rolling_rps{PRICED}'},
                    decimals=4,
                ),
                Panel(
                    'RPS difference to the market',
                    'Mean difference in RPS with its 95 % interval. Below 0 the model is better than the closing line; while the interval '
                    'contains 0 the difference is not significant.',
                    {
                        '{{model}}': f'football_rolling_rps_difference{MARKET}',
                        '{{model}}, from': f'football_rolling_rps_difference_low{MARKET}',
                        '{{model}}, to': f'football_rolling_rps_difference_high{MARKET}',
                    },
                    decimals=4,
                ),
                Panel(
                    'Accuracy over time',
                    'Of the model and, on the same matches, of the base rate and the market.',
                    {
                        '{{model}}: {{forecaster}}, {{matches}}': f'football_rolling_accuracy_ratio{OURS}'
                    },
                    unit='percentunit',
                    decimals=1,
                ),
                Panel(
                    'Log loss',
                    'Mean negative log probability of the outcome, in nats. Equal probabilities score ln 3 = 1.10.',
                    {'{{model}}: {{forecaster}}': f'football_rolling_log_loss{ALL}'},
                    decimals=3,
                ),
                Panel(
                    'Calibration',
                    'Mean distance between forecast probability and observed frequency. 95 % of perfectly calibrated models stay below the limit.',
                    {
                        '{{model}}': f'football_rolling_calibration_error{OWN}',
                        '{{model}}, limit': f'football_rolling_calibration_limit{OWN}',
                    },
                    unit='percentunit',
                    decimals=1,
                ),
                Panel(
                    'Settled matches',
                    'Number of matches with a live forecast in the panels above.',
                    {'{{model}}, {{matches}}': f'football_rolling_matches{OURS}'},
                    decimals=0,
                ),
            ],
            'Coverage': [
                Panel(
                    'Fixtures of the next 7 days',
                    'With and without a forecast in the ledger.',
                    {
                        '{{league}}, forecast': f'football_fixtures_with_forecast{LEAGUE}',
                        '{{league}}, none': f'football_fixtures_without_forecast{LEAGUE}',
                    },
                    decimals=0,
                ),
                Panel(
                    'Forecasts in the ledger',
                    'Sealed, live before kick-off or as a replay, and live ones that were settled after the match.',
                    {
                        '{{model}}, sealed {{kind}}': f'football_forecasts_sealed_total{OURS}',
                        '{{model}}, settled live': f'football_forecasts_settled_total{OURS}',
                    },
                    decimals=0,
                ),
            ],
        },
        {'league': 'football_forecasts_sealed_total', 'model': 'football_forecasts_sealed_total'},
        since='now-30d',
    ),
    Board(
        'football_data_quality',
        'Football data quality',
        'Payloads of the sources, and their quality.',
        {
            'Sources': [
                Panel(
                    'Time since the last payload',
                    'Time since the latest readable payload of each source, new or unchanged.',
                    {
                        '{{data_source}}': f'time() - max by (data_source) (football_source_last_success_timestamp_seconds{SOURCES})'
                    },
                    unit='s',
                    limits=((None, GOOD), (93600, SO_SO), (129600, BAD)),
                    kind='number',
                    wide=8,
                    decimals=0,
                ),
                Panel(
                    'Fetches',
                    'Totals by state.',
                    {
                        '{{data_source}}: {{status}}': f'sum by (data_source, status) (football_data_collection_total{SOURCES})'
                    },
                    wide=8,
                    decimals=0,
                ),
                Panel(
                    'Duration of a fetch',
                    '95 % quantile of all fetches, including all attempts.',
                    {
                        '{{data_source}}': f'histogram_quantile(0.95, sum by (data_source, le) (football_data_collection_duration_seconds_bucket{SOURCES}))'
                    },
                    unit='s',
                    wide=8,
                ),
            ],
            'Quality': [
                Panel(
                    'Rejects',
                    'Rejected rows, values and prices, and contradictions of a more trusted source; each with its reason in the '
                    'table rejects.',
                    {'{{data_source}}: {{kind}}': f'football_rejects{SOURCES}'},
                    wide=8,
                    decimals=0,
                ),
                Panel(
                    'Unresolved names',
                    'Team names without a known club; their matches are rejected until the name is added.',
                    {'{{data_source}}': f'football_unresolved_names{SOURCES}'},
                    limits=((None, GOOD), (1, BAD)),
                    kind='number',
                    wide=8,
                    decimals=0,
                ),
                Panel(
                    'Results overdue',
                    'Matches that kicked off more than three days ago and have no result.',
                    {'{{league}}': f'football_results_overdue{LEAGUE}'},
                    limits=((None, GOOD), (1, SO_SO), (4, BAD)),
                    kind='number',
                    wide=8,
                    decimals=0,
                ),
            ],
            'Freshness': [
                Panel(
                    'Age of the newest result',
                    'Time since its kick-off. It grows during breaks of the season.',
                    {
                        '{{league}}, {{data_source}}': f'time() - football_newest_result_timestamp_seconds{LEAGUE}'
                    },
                    unit='s',
                ),
                Panel(
                    'Rows',
                    'Rows of the tables that only grow.',
                    {
                        '{{table}}': 'football_table_row_count{table=~"matches|odds|snapshots|predictions|settlements|fixture_changes|rejects"}'
                    },
                    decimals=0,
                ),
            ],
            'Drift': [
                Panel(
                    'Features',
                    'Largest population stability index of the features of each view, training against the latest 30 days. Above 0.1 there is '
                    'some drift, above 0.25 a distribution has changed.',
                    {'{{league}}: {{view}}': f'football_feature_drift_psi{LEAGUE}'},
                    decimals=2,
                ),
                Panel(
                    'Forecasts',
                    "Kolmogorov-Smirnov distance between the champion's forecasts of its training matches "
                    'and of the latest 30 days.',
                    {'{{league}}: {{outcome}}': f'football_forecast_drift_ks{LEAGUE}'},
                    decimals=2,
                    bounds=(0, 1),
                ),
            ],
        },
        {'league': 'football_results_overdue', 'data_source': 'football_data_collection_total'},
        since='now-7d',
    ),
    Board(
        'football_jobs',
        'Football jobs and workers',
        'Runs of jobs, their durations, events and workers.',
        {
            'Jobs': [
                Panel(
                    'Time since the last success',
                    'Jobs of the daily pipeline are late after 30 hours.',
                    {
                        '{{job}}': 'time() - max by (job) (football_job_last_success_timestamp_seconds)'
                    },
                    unit='s',
                    limits=((None, GOOD), (93600, SO_SO), (108000, BAD)),
                    kind='number',
                    wide=24,
                    decimals=0,
                ),
                Panel(
                    'Runs',
                    'Totals by state.',
                    {
                        '{{job}}: {{state}}': 'sum by (job, state) (football_scheduler_task_runs_total)'
                    },
                    decimals=0,
                ),
                Panel(
                    'Failures',
                    'Totals by error.',
                    {
                        '{{job}}: {{error_type}}': 'sum by (job, error_type) (football_scheduler_task_failures_total)'
                    },
                    decimals=0,
                ),
                Panel(
                    'Duration of a run',
                    'Mean of all runs.',
                    {
                        '{{job}}': 'sum by (job) (football_scheduler_task_duration_seconds_sum) / sum by (job) (football_scheduler_task_duration_seconds_count)'
                    },
                    unit='s',
                ),
                Panel(
                    'Delay within a pipeline',
                    'Mean time from the end of the upstream runs to the start of a run.',
                    {
                        '{{job}}': 'sum by (job) (football_scheduler_task_delay_seconds_sum) / sum by (job) (football_scheduler_task_delay_seconds_count)'
                    },
                    unit='s',
                ),
                Panel(
                    'Running and stuck',
                    'Running runs, and those without a heartbeat for longer than the lease.',
                    {
                        '{{job}}, running': 'football_job_running > 0',
                        '{{job}}, stuck': 'football_job_stuck',
                    },
                    decimals=0,
                ),
                Panel(
                    'Time since the last backup',
                    'A backup is made every day.',
                    {'backup': 'time() - football_backup_last_success_timestamp_seconds'},
                    unit='s',
                    limits=((None, GOOD), (93600, SO_SO), (129600, BAD)),
                    kind='number',
                    wide=6,
                    decimals=0,
                ),
                Panel(
                    'Backups',
                    'Complete backups, with a manifest.',
                    {'backups': 'football_backups'},
                    kind='number',
                    wide=6,
                    decimals=0,
                ),
            ],
            'Events': [
                Panel(
                    'Unsent events',
                    'Events of the outbox that the relay has not sent; without Kafka all of them.',
                    {'events': 'football_events_unsent'},
                    decimals=0,
                ),
                Panel(
                    'Consumer lag',
                    'Events that a consumer group has not committed; only with Kafka.',
                    {'{{group}}: {{topic}}': 'football_consumer_lag_events'},
                    decimals=0,
                ),
            ],
            'Workers': [
                Panel(
                    'Online',
                    'Workers with a heartbeat in Flower.',
                    {'{{worker}}': 'flower_worker_online'},
                    limits=((None, BAD), (1, GOOD)),
                    kind='number',
                    decimals=0,
                ),
                Panel(
                    'Tasks running',
                    'By worker.',
                    {'{{worker}}': 'flower_worker_number_of_currently_executing_tasks'},
                    decimals=0,
                ),
            ],
        },
        since='now-7d',
    ),
    Board(
        'football_api',
        'Football API',
        'Objectives, requests and components of the server.',
        {
            'Objectives': [
                Panel(
                    'Availability, 30 days',
                    'Share of successful scrapes of the server. The objective is 99.5 %.',
                    {'availability': 'football:api_availability:ratio_avg30d'},
                    unit='percentunit',
                    limits=((None, BAD), (0.995, GOOD)),
                    kind='number',
                    wide=6,
                    decimals=2,
                ),
                Panel(
                    'Errors, 30 days',
                    'Share of requests that ended in a 5xx. The objective is below 1 %.',
                    {'errors': 'football:api_errors:ratio_rate30d'},
                    unit='percentunit',
                    limits=((None, GOOD), (0.005, SO_SO), (0.01, BAD)),
                    kind='number',
                    wide=6,
                    decimals=2,
                ),
                Panel(
                    'Forecasts stored',
                    'Share of the forecasts served within an hour that are in the ledger. The objective is 100 %.',
                    {'stored': 'football:predictions_stored:ratio_rate1h'},
                    unit='percentunit',
                    limits=((None, BAD), (1, GOOD)),
                    kind='number',
                    wide=6,
                    decimals=1,
                ),
                Panel(
                    'Cache hits',
                    'Share of forecasts from the cache within an hour. The objective is 80 %.',
                    {'hits': 'football:cache_hits:ratio_rate1h'},
                    unit='percentunit',
                    limits=((None, SO_SO), (0.8, GOOD)),
                    kind='number',
                    wide=6,
                    decimals=1,
                ),
            ],
            'Requests': [
                Panel(
                    'Requests',
                    'Requests per second, by status.',
                    {
                        '{{status}}': 'sum by (status) (rate(football_api_requests_total[$__rate_interval]))'
                    },
                    unit='reqps',
                ),
                Panel(
                    'Response time',
                    '95 % quantile by route.',
                    {'{{route}}': 'route:football_api_request_duration_seconds:p95_5m'},
                    unit='s',
                ),
                Panel(
                    'Forecasts',
                    'Forecasts per second: served, and computed.',
                    {
                        'served': 'sum(rate(football_predictions_served_total[$__rate_interval]))',
                        'computed': 'sum(rate(football_predictions_made_total[$__rate_interval]))',
                    },
                    unit='reqps',
                ),
                Panel(
                    'Time to compute and seal',
                    'Median and 95 % quantile.',
                    {
                        'p50': 'histogram_quantile(0.5, sum by (le) (rate(football_prediction_duration_seconds_bucket[$__rate_interval])))',
                        'p95': 'histogram_quantile(0.95, sum by (le) (rate(football_prediction_duration_seconds_bucket[$__rate_interval])))',
                    },
                    unit='s',
                ),
                Panel(
                    'Time to read features',
                    'Mean, from the online store or the offline fallback.',
                    {
                        '{{source}}': 'sum by (source) (rate(football_online_features_duration_seconds_sum[$__rate_interval])) / sum by (source) '
                        '(rate(football_online_features_duration_seconds_count[$__rate_interval]))'
                    },
                    unit='s',
                ),
                Panel(
                    'Components',
                    '1 while a component responds; the server continues without cache, feature store or registry.',
                    {'{{part}}': 'football_part_up'},
                    decimals=0,
                    bounds=(0, 1),
                ),
            ],
        },
    ),
    Board(
        'football_models',
        'Football models',
        'Champions, their age, and challengers against them.',
        {
            'Serving models': [
                Panel(
                    'Loaded by the server',
                    'The serving model of each league; source is the registry, or the verified local copy.',
                    {'{{league}}: {{model}}, {{source}}': f'football_model_loaded{OURS}'},
                    kind='number',
                    decimals=0,
                ),
                Panel(
                    'Age of the training data',
                    'Time since the latest result in the training data of a model.',
                    {
                        '{{league}}: {{role}}, {{model}}': f'time() - football_model_trained_timestamp_seconds{OURS}'
                    },
                    unit='s',
                    limits=((None, GOOD), (1209600, SO_SO), (2592000, BAD)),
                    kind='number',
                ),
            ],
            'Comparison': [
                Panel(
                    'Challenger against champion',
                    'Mean difference in RPS on matches that both forecast, with its 95 % interval; below 0 the challenger is better.',
                    {
                        '{{model}}': f'football_rolling_rps_difference{CHAMPION}',
                        '{{model}}, from': f'football_rolling_rps_difference_low{CHAMPION}',
                        '{{model}}, to': f'football_rolling_rps_difference_high{CHAMPION}',
                    },
                    decimals=4,
                ),
                Panel(
                    'Against the base rate',
                    'Mean difference in RPS; above 0 a model is worse than the outcome frequencies.',
                    {
                        '{{model}}': 'football_rolling_rps_difference{league=~"$league", model=~"$model", against="base_rate"}'
                    },
                    decimals=4,
                ),
                Panel(
                    'Brier score',
                    'Of the model and, on the same matches, of base rate and market; 0 to 2.',
                    {'{{model}}: {{forecaster}}': f'football_rolling_brier{ALL}'},
                    decimals=3,
                ),
                Panel(
                    'Open forecasts',
                    'Live forecasts that are not settled.',
                    {'{{model}}': f'football_forecasts_open{OURS}'},
                    decimals=0,
                ),
            ],
            'Ledger': [
                Panel(
                    'Problems',
                    'Rows that were edited, inserted or removed, and triggers that are missing or changed; `football-pred ledger verify` lists them.',
                    {
                        'rows': 'football_ledger_problems',
                        'guards': 'football_ledger_guards_missing',
                    },
                    limits=((None, GOOD), (1, BAD)),
                    kind='number',
                    decimals=0,
                ),
                Panel(
                    'Time since it was verified',
                    'Verified by the job settle.',
                    {'verified': 'time() - football_ledger_verified_timestamp_seconds'},
                    unit='s',
                    limits=((None, GOOD), (93600, SO_SO), (172800, BAD)),
                    kind='number',
                    decimals=0,
                ),
            ],
        },
        {'league': 'football_forecasts_sealed_total', 'model': 'football_forecasts_sealed_total'},
        since='now-30d',
    ),
]


def build_panel(panel: Panel) -> Any:
    "The panel as Grafana's builder takes it."
    number = panel.kind == 'number'
    builder = (
        (stat if number else timeseries)
        .Panel()
        .title(panel.title)
        .description(panel.about)
        .unit(panel.unit)
        .datasource(SOURCE)
    )
    builder.span(panel.wide).height(5 if number else 8).no_value('no data')
    steps = [Threshold(value=value, color=colour) for value, colour in panel.limits]
    builder.thresholds(boards.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.decimals is not None:
        builder.decimals(panel.decimals)
    least, most = panel.bounds
    if least is not None:
        builder.min(least)
    if most is not None:
        builder.max(most)
    if not number:
        legend = (
            VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        builder.legend(legend.calcs(['lastNotNull'])).line_width(1).fill_opacity(5)
        builder.tooltip(
            VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
    for letter, (legend, expression) in zip('ABCDEF', panel.queries.items(), strict=False):
        query = (
            prometheus.Dataquery()
            .expr(expression)
            .legend_format(legend)
            .ref_id(letter)
            .datasource(SOURCE)
        )
        builder.with_target(query.instant() if number else query.range())
    return builder


def build(board: Board) -> str:
    "A dashboard as JSON."
    builder = (
        boards.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(['football'])
        .refresh('30s')
        .time(board.since, 'now')
    )
    builder.timezone('utc').link(
        boards.DashboardLink('Reports of the runs')
        .type(DashboardLinkType.LINK)
        .url('http://localhost:8000/reports/')
        .icon('doc')
        .target_blank(True)
        .tooltip('Executed notebook of every run')
    )
    builder.link(
        boards.DashboardLink('Football')
        .type(DashboardLinkType.DASHBOARDS)
        .tags(['football'])
        .as_dropdown(True)
    )
    for name, metric in board.variables.items():
        variable = (
            boards.QueryVariable(name)
            .label(name.replace('_', ' ').capitalize())
            .datasource(SOURCE)
            .query(f'label_values({metric}, {name})')
        )
        variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
        builder.with_variable(variable.multi(True).include_all(True).all_value('.*'))
    for title, panels in board.rows.items():
        builder.with_row(boards.Row(title))
        for panel in panels:
            builder.with_panel(build_panel(panel))
    made = json.loads(json.dumps(builder.build(), cls=JSONEncoder))
    every = [inner for one in made['panels'] for inner in (one, *one.get('panels', []))]
    for number, panel in enumerate(every, 1):
        panel['id'] = number
    return json.dumps(made, indent=1, ensure_ascii=False) + '\n'


def main(check: bool) -> int:
    "Write what differs, or name it."
    wanted = {f'{board.uid}.json': build(board) for board in BOARDS}
    there = {path.name: path.read_text() for path in FOLDER.glob('*.json')}
    if check:
        for name in sorted({*wanted, *there}):
            if wanted.get(name) != there.get(name):
                print(f'{name} is not what tools/dashboards.py writes')
        return int(wanted != there)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in {*there} - {*wanted}:
        (FOLDER / name).unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_text(content)
    return 0


if __name__ == '__main__':
    sys.exit(main('--check' in sys.argv))
