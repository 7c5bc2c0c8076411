"""How Sphinx builds the documentation: C{sphinx-build -W --keep-going -b html docs OUT}."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from openclaw._version import __version__

project = "OpenClaw Gateway"
copyright = "OpenClaw Gateway contributors"  # noqa: A001 - Sphinx's name for it
version = release = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
master_doc = "index"
nitpicky = True

# Anchors for links such as configuration.md#places, as GitHub makes them.
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"OpenClaw Gateway {__version__}"
# JSON5 has no lexer of its own; JavaScript's reads it.
highlight_language = "text"


def setup(app: object) -> None:
    """Teach Sphinx the language of the configuration's examples."""
    from pygments.lexers import JavascriptLexer

    app.add_lexer("json5", JavascriptLexer)  # type: ignore[attr-defined]
