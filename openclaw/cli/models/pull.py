"""C{openclaw models pull}: fetch the weights of an embedded model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import click

from openclaw.cli.output import State, json_option, print_json
from openclaw.config.paths import ensure_state_dir
from openclaw.errors import StartError
from openclaw.installation import install_command
from openclaw.providers.weights import looks_complete, weights_named, weights_path
from openclaw.providers.weights import pull as pull_weights

BAR_WIDTH = 30
"""Length of a progress bar, characters."""


@click.command()
@click.argument("name")
@json_option
@click.pass_obj
def pull(state: State, name: str) -> None:
    """Fetch the weights of an embedded model into the state folder."""
    path = fetch_weights(state, name)
    if state.as_json:
        print_json({"ok": True, "model": name, "path": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(f"{name} is there: {path}")


def fetch_weights(state: State, name: str) -> Path:
    """
    Fetch weights unless they are there and whole, with a progress bar on a terminal.

    @return: their file.
    @raise openclaw.errors.StartError: if they cannot be had, or nothing could run them; with what to do.
    """
    weights = weights_named(name)
    path = weights_path(state.paths.models_dir, name)
    if looks_complete(path, weights):
        return path
    check_library()  # before anything is fetched that nothing could run
    ensure_state_dir(state.paths)
    click.echo(f"fetching {name} ({weights.size_bytes / 1e6:.0f} MB) ...", err=True)
    try:
        return pull_weights(weights, state.paths.models_dir, progress_printer(sys.stderr))
    except BaseException:
        if sys.stderr.isatty():
            click.echo(err=True)  # what is told next begins a line of its own, not at the end of the bar
        raise


def check_library() -> None:
    """
    See that what runs the embedded model is installed.

    @raise StartError: if it is not; with what to type.
    """
    from openclaw.providers.local_spawn import library_installed

    if not library_installed():
        raise StartError(f"the embedded model is not installed: {install_command('local')}")


def progress_printer(stream: TextIO, now: Callable[[], float] = time.monotonic) -> Callable[[int, int | None], None]:
    """
    Something to be told of progress: a bar that is drawn anew on a terminal, a line now and then elsewhere.

    @param stream: where to print.
    """
    interactive = bool(stream.isatty())
    every_s = 0.1 if interactive else 5.0
    last_s = now() - every_s

    def show(done: int, total: int | None) -> None:
        """So many bytes are there, of so many if that is"""
        nonlocal last_s
        complete = total is not None and done >= total
        if not complete and now() - last_s < every_s:
            return
        last_s = now()
        size = f"{done / 1e6:.1f} / {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
        if interactive:
            share = min(done / total, 1.0) if total else 0.0
            stream.write(f"\r[{'#' * int(share * BAR_WIDTH):<{BAR_WIDTH}}] {size}" + ("\n" if complete else ""))
        else:
            stream.write(f"  {size}\n")
        stream.flush()

    return show
