"Tables, pictures and pages: what a reader sees, and what must never be in a page."

import json
import re
import zipfile
from datetime import UTC, date, datetime, timedelta

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import papermill
import polars as pl
import pytest
from matplotlib.figure import Figure

from football_pred.core.schema import RUN_STATES
from football_pred.evaluation.scoring import reliability_table
from football_pred.markets.score_grid import score_grid
from football_pred.reporting.html_report import (
    CHECKS_MIME_TYPE,
    STATE_SYMBOLS,
    notebook_to_html,
    read_checks,
    render_reports_index,
)
from football_pred.reporting.plots import (
    MODEL_COLOURS,
    OUTCOME_COLOURS,
    plot_forecasts,
    plot_reliability,
    plot_score_grid,
    plot_skill_over_time,
    plot_strengths,
)
from football_pred.reporting.tables_and_checks import Check, ChecksFailed, format_table, run_checks

matplotlib.use('agg')
LONG = [
    'Wolverhampton Wanderers',
    "Nott'm Forest",
    'Brighton and Hove Albion',
    'Ath Bilbao',
    'Ein Frankfurt',
]
T = datetime(2026, 8, 14, 6, tzinfo=UTC)


def fixtures(n, **columns):
    p = np.random.default_rng(0).dirichlet([4, 2.5, 3], n)
    p[:1] = [0.96, 0.03, 0.01]
    return pl.DataFrame(
        {
            'kickoff': [T + timedelta(hours=7 * i) for i in range(n)],
            'home_team': [LONG[i % 5] for i in range(n)],
            'away_team': [LONG[(i + 1) % 5] for i in range(n)],
            'p_home': p[:, 0],
            'p_draw': p[:, 1],
            'p_away': p[:, 2],
        },
        schema_overrides={
            'kickoff': pl.Datetime('us', 'UTC'),
            'home_team': pl.String,
            'away_team': pl.String,
        },
    ).with_columns(**columns)


def scored(models, weeks=20):
    rng, n = np.random.default_rng(1), 10 * weeks
    base = pl.DataFrame(
        {
            'match_id': [f'm{i}' for i in range(n)],
            'kickoff': [T + timedelta(weeks=i // 10) for i in range(n)],
            'outcome': rng.choice(['home', 'draw', 'away'], n),
        }
    )

    def chances():
        return pl.DataFrame(rng.dirichlet([4, 2.5, 3], n), schema=['p_home', 'p_draw', 'p_away'])

    return pl.concat(base.with_columns(chances(), model=pl.lit(model)) for model in models)


# Tables


def test_headers_and_numbers_are_for_readers():
    html = format_table(
        fixtures(2).with_columns(rps=pl.lit(0.20312), matches=pl.lit(4560), known=pl.lit(True)),
        title='Next',
    ).as_raw_html()
    text = re.sub(r'<style>.*?</style>|<[^>]+>', ' ', html, flags=re.S).replace(
        '\N{NO-BREAK SPACE}', ' '
    )
    for word in ('Next', 'Home win', '96.0%', '0.2031', '4,560', 'Fri 14 Aug 2026, 06:00', 'yes'):
        assert word in text
    for word in ('p_home', 'f64', 'datetime'):
        assert word not in text


def test_table_shows_what_is_missing_and_how_much_is_left_out():
    html = format_table(
        pl.DataFrame({'share': [0.5, None], 'checks': [[{'a': 1}], None]}), percent=['share']
    ).as_raw_html()
    assert '50.0%' in html
    assert html.count('\N{EN DASH}</td>') == 2
    assert (
        'The first 3 of 1,000 rows.'
        in format_table(pl.DataFrame({'x': range(1000)}), max_rows=3).as_raw_html()
    )


def test_table_of_nothing():
    assert 'Home win' in format_table(fixtures(0)).as_raw_html()


def test_names_cannot_inject_html():
    assert (
        '<script>'
        not in format_table(
            pl.DataFrame({'home_team': ['<script>alert(1)</script>']})
        ).as_raw_html()
    )


def test_table_prints_short():
    assert len(repr(format_table(fixtures(3)))) < 2000


# Pictures


def strengths(n):
    return pl.DataFrame(
        {
            'team': [f'{LONG[i % 5]} {i}' for i in range(n)],
            'attack': np.linspace(-0.5, 0.5, n),
            'defence': np.linspace(0.3, -0.4, n),
        }
    )


PICTURES = {
    'one match': lambda: plot_forecasts(fixtures(1)),
    'forty matches': lambda: plot_forecasts(fixtures(40)),
    'too many matches': lambda: plot_forecasts(fixtures(60)),
    'no match': lambda: plot_forecasts(fixtures(0)),
    'two leagues': lambda: plot_forecasts(
        pl.concat([fixtures(5, league=pl.lit('E0')), fixtures(5, league=pl.lit('SP1'))])
    ),
    'no times': lambda: plot_forecasts(
        fixtures(5, kickoff_known=pl.lit(False), date=pl.lit(date(2026, 8, 14)))
    ),
    'two teams': lambda: plot_strengths(strengths(2)),
    'thirty-five teams': lambda: plot_strengths(strengths(35)),
    'reliability': lambda: plot_reliability(
        reliability_table(np.random.default_rng(0).dirichlet([4, 2.5, 3], 900), np.arange(900) % 3)
    ),
    'one bin': lambda: plot_reliability(reliability_table([[0.4, 0.3, 0.3]], [0], bins=1)),
    'grid': lambda: plot_score_grid(score_grid(1.5, 1.1), 'Leeds', 'Hull'),
    'grid of long names': lambda: plot_score_grid(score_grid(4.5, 0.2), LONG[0], LONG[2]),
    'small grid': lambda: plot_score_grid(score_grid(1.5, 1.1, max_goals=3), 'Leeds', 'Hull'),
    'skill': lambda: plot_skill_over_time(scored(['base', *'abcdefg']), 'base'),
    'skill of nobody': lambda: plot_skill_over_time(scored(['base']), 'base'),
}


@pytest.mark.parametrize('name', PICTURES)
def test_every_label_is_inside_the_picture(name):
    figure = PICTURES[name]()
    assert isinstance(figure, Figure)
    assert not plt.get_fignums(), 'a figure left open is shown twice'
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    drawn = figure.get_tightbbox()
    assert drawn.x0 > -0.01
    assert drawn.y0 > -0.01
    assert drawn.x1 < width + 0.01
    assert drawn.y1 < height + 0.01


def words(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_forecasts_are_grouped_by_day_and_earliest_first():
    shown = words(plot_forecasts(fixtures(8).sample(fraction=1, shuffle=True, seed=1)))
    days = [word for word in shown if word.endswith('2026')]
    assert days == ['Friday 14 August 2026', 'Saturday 15 August 2026', 'Sunday 16 August 2026']
    assert '96%' in shown
    assert '3%' not in shown, 'a label wider than its bar'
    assert 'The first 40 of 45 matches' in words(plot_forecasts(fixtures(45)))


def test_forecasts_of_two_models_are_refused():
    with pytest.raises(ValueError, match=r"\['a', 'b'\]"):
        plot_forecasts(pl.concat([fixtures(1, model=pl.lit(m)) for m in 'ab']))


def test_strengths_are_sorted():
    axes = plot_strengths(strengths(20)).axes[0]
    assert axes.get_yticklabels()[-1].get_text().endswith(' 19')


@pytest.mark.parametrize('draw', [plot_forecasts, plot_strengths, plot_reliability])
def test_missing_columns_are_named(draw):
    with pytest.raises(ValueError, match='lacks the columns'):
        draw(pl.DataFrame({'x': [1]}))


def test_skill_is_the_sum_of_differences():
    from football_pred.evaluation.scoring import score_table

    forecasts = scored(['base', 'other'])
    line = next(
        line
        for line in plot_skill_over_time(forecasts, 'base').axes[0].lines
        if line.get_label() == 'other'
    )
    row = score_table(forecasts, reference='base').row(
        by_predicate=pl.col('model') == 'other', named=True
    )
    assert line.get_ydata()[0] == 0
    assert line.get_ydata()[-1] == pytest.approx(row['rps_difference'] * row['compared'])


def luminance(colour):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in matplotlib.colors.to_rgb(colour)
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_on_bars_can_be_read():
    assert contrast(OUTCOME_COLOURS['home'], 'white') > 4.5
    assert contrast(OUTCOME_COLOURS['draw'], '#1d2329') > 4.5
    assert contrast(OUTCOME_COLOURS['away'], '#1d2329') > 4.5
    assert len({*MODEL_COLOURS}) == len(MODEL_COLOURS)


# Checks


@pytest.mark.parametrize(
    ('check', 'passed'),
    [
        (Check('a', 1, at_least=1), True),
        (Check('a', 1, at_most=1), True),
        (Check('a', 2, at_least=0, at_most=1), False),
        (Check('a', float('nan'), at_most=1), False),
        (Check('a', None, at_least=0), False),
        (Check('a', float('inf'), at_most=9), False),
        (Check('a', True, at_least=1), True),
        (Check('a', False, at_least=1), False),
        (Check('a', np.float64(0.5), at_most=1), True),
        (Check('a', np.int64(5), at_least=9), False),
    ],
)
def test_limits(check, passed):
    assert check.passed is passed


def test_all_failing_checks_are_named():
    words = '2 of 3 checks failed: rows is 12, expected at least 4,000; loss is nan, expected at least 0 and at most 1'
    with pytest.raises(ChecksFailed, match=words):
        run_checks(
            [
                Check('rows', 12, at_least=4000),
                Check('fine', 1, at_most=1),
                Check('loss', float('nan'), at_least=0, at_most=1),
            ]
        )


@pytest.mark.parametrize('checks', [[], [Check('a', 1, at_most=1)] * 2])
def test_a_list_that_proves_nothing_is_refused(checks):
    with pytest.raises(ValueError, match=r'proves nothing|must differ'):
        run_checks(checks)


# An executed notebook

CELLS = [
    ('markdown', '# Backtest\n\n> Of the past', []),
    ('code', "leagues: list[str] = ['E0']\nlimit: float = 1.05", ['parameters']),
    (
        'code',
        'import warnings\nimport polars as pl\nfrom football_pred.reporting.plots import plot_strengths\n'
        'from football_pred.reporting.tables_and_checks import Check, format_table, run_checks\n'
        "teams = pl.DataFrame({'team': ['Ash', 'Elm & <b>Oak</b>'], 'attack': [0.2, -0.1], 'defence': [0.1, -0.3]})\n"
        "warnings.warn('odd')\nprint('two teams')",
        [],
    ),
    ('code', 'plot_strengths(teams)', []),
    ('code', "format_table(teams, title='Teams')", []),
    (
        'markdown',
        '<script src="https://e.org/x.js"></script>\n\n![far](https://e.org/x.png)\n\n[link](https://e.org)',
        [],
    ),
    (
        'code',
        "run_checks([Check('matches', 4560, at_least=4000), Check('log loss', 0.9912, at_most=limit)])",
        ['checks'],
    ),
]


def execute(path, **parameters):
    cells = [
        (nbformat.v4.new_markdown_cell if kind == 'markdown' else nbformat.v4.new_code_cell)(
            source, metadata={'tags': tags}
        )
        for kind, source, tags in CELLS
    ]
    book = nbformat.v4.new_notebook(
        cells=cells,
        metadata={'kernelspec': {'name': 'python3', 'display_name': 'p', 'language': 'python'}},
    )
    nbformat.write(book, path)
    try:
        papermill.execute_notebook(path, path, parameters, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        return error
    return None


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    paths = {name: folder / f'{name}.ipynb' for name in ('good', 'bad')}
    return {
        name: (path, execute(path, limit=1.05 if name == 'good' else 0.9))
        for name, path in paths.items()
    }


def test_checks_are_read_back(runs):
    for name, passed in (('good', [True, True]), ('bad', [True, False])):
        path, error = runs[name]
        checks = read_checks(json.loads(path.read_text()))
        assert [(c['name'], c['value'], c['passed']) for c in checks] == [
            ('matches', 4560, passed[0]),
            ('log loss', 0.9912, passed[1]),
        ]
        assert (error is None) == all(passed)
        nbformat.validate(nbformat.read(path, 4))
    assert 'log loss is 0.9912, expected at most 0.9' in str(runs['bad'][1])


def test_checks_have_a_form_for_everybody(runs):
    book = json.loads(runs['good'][0].read_text())
    data = next(
        output['data']
        for cell in book['cells']
        for output in cell.get('outputs', [])
        if CHECKS_MIME_TYPE in output.get('data', {})
    )
    assert {CHECKS_MIME_TYPE, 'text/html', 'text/plain'} == {*data}
    assert json.loads(json.dumps(data[CHECKS_MIME_TYPE], allow_nan=False)) == data[CHECKS_MIME_TYPE]


def test_notebook_without_checks():
    assert read_checks({'cells': [{'cell_type': 'markdown', 'source': ''}, {'outputs': []}]}) == []


def test_a_figure_is_shown_once(runs):
    book = json.loads(runs['good'][0].read_text())
    assert (
        sum(
            'image/png' in output.get('data', {})
            for cell in book['cells']
            for output in cell.get('outputs', [])
        )
        == 1
    )


def loads(page):
    "Addresses that a browser would fetch of itself."
    page = re.sub(r'data:[a-z]+/[a-z+]+;base64,[A-Za-z0-9+/=]+', 'data:', page)
    inside = re.findall(
        r'<(?:script|link|img|iframe|source|object|embed)\b[^>]*', page
    ) + re.findall(r'url\([^)]*\)|@import[^;]*', page)
    return [
        tag
        for tag in inside
        if re.search(r'https?:|//', tag) or tag.startswith(('<script', '<link', '<iframe'))
    ]


def test_page_has_what_the_run_did(runs):
    page = notebook_to_html(
        runs['good'][0], 'backtest <of today>', '<a href="index.html">all runs</a>'
    )
    assert '<title>backtest &lt;of today&gt;</title>' in page
    assert '<a href="index.html">all runs</a>' in page
    for word in (
        'Of the past',
        'two teams',
        'Teams',
        '✓ passed',
        '4,560',
        'Parameters of this run',
        'data:image/png;base64,',
    ):
        assert word in page
    assert '<b>Oak</b>' not in page
    assert page.count('<details class="code"') == 6
    assert page.count('<details class="code" open') == 2, (
        'parameters are open, other code is folded'
    )
    assert len(re.sub(r'data:image/png;base64,[^"]+', '', page)) < 60_000


def test_page_loads_nothing(runs):
    page = notebook_to_html(runs['good'][0], 'backtest')
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page
    # What the notebook wrote itself is stopped by the policy.
    written = [tag for tag in loads(page) if 'e.org' not in tag]
    assert written == []
    assert page.index('Content-Security-Policy') < page.index('<style>')


def test_page_of_a_failed_run_says_so_first(runs):
    page = notebook_to_html(runs['bad'][0], 'backtest')
    body = page.partition('<main>')[2]
    assert body.index('The run stopped with an error') < body.index('Of the past')
    assert 'ChecksFailed: 1 of 2 checks failed: log loss is 0.9912, expected at most 0.9' in body
    assert 'href="#stopped"' in body
    assert 'id="stopped"' in body


# Index


def listed(**changes):
    check = pl.List(pl.Struct({'name': pl.String, 'value': pl.Float64, 'passed': pl.Boolean}))
    rows = [
        {
            'run_id': f'r{i}',
            'job': 'backtest',
            'state': state,
            'as_of': T,
            'started_at': T + timedelta(minutes=i),
            'finished_at': None,
            'seconds': [None, 0.31, 59.94, 61.0, 3720.0, 5.0][i],
            'error': None,
            'report': f'backtest/r{i}.html',
            'checks': [
                {'name': 'RPS', 'value': 0.20312, 'passed': True},
                {'name': 'lost', 'value': None, 'passed': False},
            ],
        }
        | changes
        for i, state in enumerate(STATE_SYMBOLS)
    ]
    return pl.DataFrame(
        rows, schema_overrides={'checks': check, 'error': pl.String, 'report': pl.String}
    )


def test_every_state_of_a_run_is_known():
    assert {*STATE_SYMBOLS} == {*RUN_STATES}


def test_index_lists_newest_first():
    page = render_reports_index(listed())
    assert re.findall(r'href="backtest/(r\d)\.html"', page) == ['r5', 'r4', 'r3', 'r2', 'r1', 'r0']
    for word in ('0.3 s', '59.9 s', '1 min 1 s', '1 h 2 min', '1 of 2', 'RPS 0.2031', 'timed out'):
        assert word in page
    assert loads(page) == []


def test_states_differ_by_more_than_colour():
    shown = re.findall(
        r'<span class="state \w+">(\S+) ([\w ]+)</span>', render_reports_index(listed())
    )
    assert len({word for _, word in shown}) == len(STATE_SYMBOLS)
    assert all(symbol for symbol, _ in shown)


def test_index_escapes_what_it_is_told():
    page = render_reports_index(
        listed(error='<img src=x onerror=alert(1)>', job='<b>', report='javascript:alert(1)//"><b>')
    )
    assert '<img' not in page
    assert '<b>' not in page
    assert 'href="javascript:' not in page


def test_index_of_no_runs():
    assert 'No runs yet.' in render_reports_index(listed().head(0))
    assert (
        'href' not in render_reports_index(listed(report=None, checks=None)).partition('<body>')[2]
    )


def test_unknown_state_is_refused():
    with pytest.raises(ValueError, match="r0: the state is 'done'"):
        render_reports_index(listed(state='done').head(1))


def test_templates_are_inside_the_package():
    from importlib.resources import files

    names = {entry.name for entry in (files('football_pred') / 'templates').iterdir()}
    assert {'look.css', 'page.html.j2', 'cells.html.j2', 'runs.html.j2'} <= names
    assert not zipfile.is_zipfile(str(files('football_pred')))
