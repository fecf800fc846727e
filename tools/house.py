"The plan of the library: which package stands on which, and what a module may import."

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / 'football_pred'

# A package imports only packages of earlier rows; packages of one row do not import one another.
PACKAGES = (
    ('core',),
    ('ingest',),
    ('markets',),
    ('ratings',),
    ('features',),
    ('models',),
    ('evaluation',),
    ('registry',),
    ('forecasts',),
    ('reporting',),
    ('api', 'events', 'metrics'),
    ('jobs',),
    ('cli',),
)
ROWS = {package: row for row, packages in enumerate(PACKAGES) for package in packages}


def notebook_of(path: Path) -> str | None:
    "Notebook that a module was exported from, such as '00_core/03_schema'."
    match = re.search(r'File to edit: (?:\.\./)+nbs/(\S+?)\.ipynb', path.read_text())
    return match[1] if match else None


def read_modules() -> dict[str, tuple[str, int]]:
    "Package and number of each module, such as 'core.schema': ('core', 3)."
    modules = {}
    for path in sorted(LIBRARY.rglob('*.py')):
        notebook = notebook_of(path)
        if notebook is None:
            continue
        folder, name = notebook.split('/')
        module = '.'.join(path.relative_to(LIBRARY).with_suffix('').parts)
        modules[module] = folder.partition('_')[2], int(name.partition('_')[0])
    return modules


def source_of(module: str) -> str:
    return (LIBRARY / f'{module.replace(".", "/")}.py').read_text()


def summary_of(module: str) -> str:
    "First line of a module's docstring."
    docstring = ast.get_docstring(ast.parse(source_of(module))) or ''
    return docstring.partition('\n')[0]


def imported_names(module: str) -> set[str]:
    "Everything of the library that a module imports, at the top or inside a function."
    parents = ['football_pred', *module.split('.')[:-1]]
    names = set()
    for node in ast.walk(ast.parse(source_of(module))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) + 1 - node.level] if node.level else []
            origin = '.'.join([*base, *filter(None, [node.module])])
            names |= {origin, *(f'{origin}.{alias.name}' for alias in node.names)}
    return {
        name.removeprefix('football_pred.') for name in names if name.startswith('football_pred.')
    }


def imported_modules(module: str, modules: dict[str, tuple[str, int]]) -> set[str]:
    return imported_names(module) & modules.keys()


def is_below(module: str, other: str, modules: dict[str, tuple[str, int]]) -> bool:
    "Whether a module may be imported by another."
    package, number = modules[module]
    other_package, other_number = modules[other]
    if package == other_package:
        return number < other_number
    return ROWS[package] < ROWS[other_package]
