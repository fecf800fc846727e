"Write README.md from nbs/index.ipynb: python tools/readme.py"

from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import RegexRemovePreprocessor, TagRemovePreprocessor

ROOT = Path(__file__).parents[1]


def readme() -> str:
    "The index without the cells marked `#| hide`, and without the source of cells tagged `output-only`."
    notebook = nbformat.read(ROOT / 'nbs/index.ipynb', as_version=4)
    notebook.metadata.language_info = {'name': 'python'}
    exporter = MarkdownExporter()
    exporter.register_preprocessor(RegexRemovePreprocessor(patterns=[r'#\|\s*hide']), enabled=True)
    exporter.register_preprocessor(
        TagRemovePreprocessor(remove_input_tags={'output-only'}), enabled=True
    )
    body, _ = exporter.from_notebook_node(notebook)
    body = body.replace(
        '](images/', '](nbs/images/'
    )  # the notebook stands in nbs, the README above it
    lines = [line.rstrip() for line in body.strip().splitlines()]
    text = '\n'.join(
        line for i, line in enumerate(lines) if line or (i and lines[i - 1])
    )  # no two empty lines in a row
    return f'<!-- Made from nbs/index.ipynb by tools/readme.py -->\n\n{text}\n'


if __name__ == '__main__':
    (ROOT / 'README.md').write_text(readme())
