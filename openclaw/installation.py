"""
How this program came onto the machine, and what to type to install more of it.

A package of our name on the public index is not ours: what is named is the interpreter that runs and the checkout that
it was installed from.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def install_command(extra: str) -> str:
    """
    What to type for an optional part of this program, such as C{local}.  Blocks while it looks at files.

    Where the checkout is not there any more, it is the packages that the part needs.
    """
    checkout, editable = _checkout()
    if checkout is None:
        return f"{_pip()} {' '.join(map(shlex.quote, _requirements(extra)))}"
    return f"{_pip()} {'-e ' if editable else ''}{shlex.quote(f'{checkout}[{extra}]')}"


def upgrade_command() -> str | None:
    """What to type to install the checkout again after it was brought up to date; C{None} if it is not there."""
    checkout, editable = _checkout()
    return None if checkout is None else f"{_pip()} --upgrade {'-e ' if editable else ''}{shlex.quote(str(checkout))}"


def _pip() -> str:
    return f"{shlex.quote(sys.executable or 'python3')} -m pip install"


def _checkout() -> tuple[Path | None, bool]:
    """The folder of the source that this was installed from, or runs in; and whether it runs in it."""
    if _is_checkout(_PACKAGE.parent):
        return _PACKAGE.parent, True
    for record in _PACKAGE.parent.glob("openclaw-*.dist-info/direct_url.json"):
        try:
            told = json.loads(record.read_text())
            url = str(told["url"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if url.startswith("file://"):
            from urllib.parse import unquote

            folder = Path(unquote(url.removeprefix("file://")))
            if _is_checkout(folder):
                return folder, False
    return None, False


def _is_checkout(folder: Path) -> bool:
    return (folder / "setup.py").is_file() and (folder / "openclaw" / "installation.py").is_file()


def _requirements(extra: str) -> list[str]:
    """The packages that an optional part needs, by the metadata of what is installed."""
    import importlib.metadata  # slow, and rarely needed
    import re

    try:
        lines = importlib.metadata.requires("openclaw") or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    found = [line.partition(";") for line in lines]
    wanted = re.compile(rf"""extra\s*==\s*['"]{re.escape(extra)}['"]""")
    return [name.strip() for name, _, condition in found if wanted.search(condition)] or ["xllamacpp"]
