"Plain code: small export cells that are shown or tested, a statement a line, lines that fit a page."

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.services import require_program
from tools.house import ROOT, read_modules, source_of

MODULES = read_modules()
LIBRARY_NOTEBOOKS = sorted(ROOT.glob('nbs/[0-9][0-9]_*/*.ipynb'))
LONGEST_CELL, LONGEST_LINE = 40, 100
SHARE_WITHOUT_DEMONSTRATION = 0.10


def code_cells(path: Path) -> list[str]:
    cells = json.loads(path.read_text())['cells']
    return [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']


def is_export(source: str) -> bool:
    return '#| export' in source


def defines(source: str) -> bool:
    return is_export(source) and bool(re.search(r'^(def|class|async def) ', source, re.MULTILINE))


@pytest.mark.parametrize('path', LIBRARY_NOTEBOOKS, ids=lambda path: path.stem)
def test_export_cells_are_one_idea(path):
    long_cells = [
        cell for cell in code_cells(path) if defines(cell) and len(cell.splitlines()) > LONGEST_CELL
    ]
    assert [cell.splitlines()[1] for cell in long_cells] == []


def test_definitions_are_shown_or_tested():
    defining = 0
    bare = []
    for path in LIBRARY_NOTEBOOKS:
        cells = code_cells(path)
        for cell, following in zip(cells, [*cells[1:], None], strict=True):
            if not defines(cell):
                continue
            defining += 1
            if following is None or is_export(following):
                bare.append(f'{path.stem}: {cell.splitlines()[1]}')
    assert len(bare) < SHARE_WITHOUT_DEMONSTRATION * defining, bare


@pytest.mark.parametrize('module', MODULES)
def test_lines_fit(module):
    lines = enumerate(source_of(module).splitlines(), 1)
    assert [
        number for number, line in lines if len(line) > LONGEST_LINE and not is_generated(line)
    ] == []


def is_generated(line: str) -> bool:
    "Whether the exporter wrote the line: `__all__` is wrapped at 120 columns."
    return line.startswith(('__all__', "           '"))


@pytest.mark.parametrize('module', MODULES)
def test_no_tuple_of_values_is_assigned_to_save_lines(module):
    lines = [
        node.lineno
        for node in ast.walk(ast.parse(source_of(module)))
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and isinstance(node.value, ast.Tuple)
    ]
    assert lines == []


PACKAGES = sorted({path.parent for path in LIBRARY_NOTEBOOKS})


@pytest.fixture(scope='module')
def browser() -> Iterator[Browser]:
    "A Chromium for all packages."
    chromium = require_program('chromium', 'chromium fonts-dejavu-core')
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.mark.parametrize('folder', PACKAGES, ids=lambda path: path.name)
def test_code_is_not_cut_at_the_edge_of_a_page(folder, browser, tmp_path):
    "Every export cell of a package, rendered as HTML at 1,100 pixels."
    import nbformat
    from nbconvert import HTMLExporter

    sources = [
        cell
        for path in sorted(folder.glob('*.ipynb'))
        for cell in code_cells(path)
        if is_export(cell)
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources]
    )
    page_path = tmp_path / 'page.html'
    page_path.write_text(HTMLExporter(template_name='lab').from_notebook_node(notebook)[0])
    page = browser.new_page(viewport={'width': 1100, 'height': 800})
    page.route(re.compile('^https?://'), lambda route: route.abort())
    page.goto(page_path.as_uri(), wait_until='domcontentloaded')
    cut = page.eval_on_selector_all(
        '.jp-CodeMirrorEditor pre, .highlight pre',
        'cells => cells.filter(c => c.scrollWidth > c.clientWidth).map(c => c.innerText.slice(0, 200))',
    )
    count = page.locator('.highlight pre').count()
    page.close()
    assert count == len(sources)
    assert cut == []
