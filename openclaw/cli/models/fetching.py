"""Fetching the weights of an embedded model, with something to look at meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import click

from openclaw.cli.output import State
from openclaw.config.paths import ensure_state_dir
from openclaw.providers.weights import looks_complete, pull, weights_named, weights_path

BAR_WIDTH = 30
"""Length of a progress bar, characters."""


def fetch_weights(state: State, name: str) -> Path:
    """
    Fetch weights unless they are there and whole, with a progress bar on a terminal.

    @return: their file.
    @raise openclaw.errors.StartError: if they cannot be had, with what to do.
    """
    weights = weights_named(name)
    path = weights_path(state.paths.models_dir, name)
    if looks_complete(path, weights):
        return path
    ensure_state_dir(state.paths)
    click.echo(f"fetching {name} ({weights.size_bytes / 1e6:.0f} MB) ...", err=True)
    try:
        return pull(weights, state.paths.models_dir, progress_printer(sys.stderr))
    except BaseException:
        if sys.stderr.isatty():
            click.echo(err=True)  # what is told next begins a line of its own, not at the end of the bar
        raise


def progress_printer(stream: TextIO, now: Callable[[], float] = time.monotonic) -> Callable[[int, int | None], None]:
    """
    Something to be told of progress: a bar that is drawn anew on a terminal, a line now and then elsewhere.

    @param stream: where to print.
    """
    interactive = bool(stream.isatty())
    every_s = 0.1 if interactive else 5.0
    last_s = now() - every_s

    def show(done: int, total: int | None) -> None:
        """So many bytes are there, of so many if that is known."""
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
