"One word for one thing: the words that the project does not use, in names and in texts."

import ast
import re

import pytest

from tools.house import LIBRARY, ROOT, read_modules, source_of

MODULES = read_modules()
# Pronouns, participles and verbs that hide a noun, as names of variables and parameters.
HIDDEN_NOUNS = {
    'told',
    'said',
    'asked',
    'one',
    'some',
    'them',
    'own',
    'there',
    'found',
    'kept',
    'known',
    'made',
    'gone',
    'going',
    'ours',
    'theirs',
    'whole',
    'odd',
    'wrong',
    'shown',
    'given',
    'seen',
    'both',
    'what',
    'how',
    'much',
    'us',
    'mine',
    'told_at',
    'anew',
}
# What the text of code, pages and documents says instead stands in nbs/guide/glossary.ipynb.
BANNED_PHRASES = {
    r'\b(?:is|are|was|were|be|been|being) told\b': 'reported, sent, logged',
    r'\bnobody\b': 'no, not yet',
    r'\banew\b': 'again, rebuilt, recomputed',
    r'\b(?:put|puts|laid) aside\b': 'rejected, dead-lettered',
    r'\b(?:is|was|are) to come\b': 'upcoming',
    r'\bcoming match(?:es)?\b': 'upcoming fixtures',
    r'\bcame true\b': 'outcome',
    r'\bwho may call\b': 'API keys',
    r'\bmoment of looking\b': 'as_of',
    r'\b(?:take|takes|taken|took) in\b': 'load',
    r'\bsigns? of life\b': 'heartbeat',
    r'\bfaded\b': 'exponentially weighted',
    r'\b[Aa] defect of ours\b': 'internal error',
    r'\b(?:database|registry|cache|broker) away\b': 'unavailable',
}
TEXTS = sorted(
    path
    for pattern in (
        '*.md',
        '*.yml',
        'Dockerfile',
        '.env.example',
        'params/**/*.yaml',
        'monitoring/**/*.yml',
        'monitoring/**/*.md',
        'monitoring/**/*.json',
        'football_pred/templates/*',
        'football_pred/data/*.md',
        'nbs/**/*.ipynb',
    )
    for path in ROOT.glob(pattern)
    if '.ipynb_checkpoints' not in path.parts and path.name != 'CHANGELOG.md'
)


def stored_names(module: str) -> list[str]:
    "Variables that are assigned and parameters, with their lines."
    names = []
    for node in ast.walk(ast.parse(source_of(module))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append((node.id, node.lineno))
        elif isinstance(node, ast.arg):
            names.append((node.arg, node.lineno))
    return names


@pytest.mark.parametrize('module', MODULES)
def test_variables_are_nouns(module):
    assert [
        f'line {line}: {name}' for name, line in stored_names(module) if name in HIDDEN_NOUNS
    ] == []


def banned_phrases(text: str) -> list[str]:
    "Banned phrases in a text, each with the line and the word to use instead."
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, better in BANNED_PHRASES.items():
            if match := re.search(pattern, line, re.IGNORECASE):
                problems.append(f'line {number}: {match[0]!r}; say {better}')
    return problems


@pytest.mark.parametrize('path', TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_use_the_words_of_the_field(path):
    assert banned_phrases(path.read_text()) == []


def test_the_check_finds_what_it_looks_for():
    assert banned_phrases('fine\nRows are put aside.') == [
        "line 2: 'put aside'; say rejected, dead-lettered"
    ]
    assert banned_phrases('a forecast of upcoming fixtures') == []


def test_no_public_name_is_defined_twice():
    places: dict[str, list[str]] = {}
    for module in MODULES:
        for node in ast.parse(source_of(module)).body:
            is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if is_definition and not node.name.startswith('_'):
                places.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


@pytest.mark.parametrize(
    'stub', sorted(LIBRARY.glob('*/__init__.pyi')), ids=lambda path: path.parent.name
)
def test_public_face_names_what_exists(stub):
    for node in ast.parse(stub.read_text()).body:
        assert isinstance(node, ast.ImportFrom)
        tree = ast.parse((stub.parent / f'{node.module}.py').read_text())
        exported = next(
            ast.literal_eval(item.value)
            for item in tree.body
            if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == '__all__'
        )
        assert {alias.name for alias in node.names} <= set(exported)
