"""
When the garbage collector works: not while a command is loaded, nor when it ends.

A command loads some fifty thousand objects that live as long as the process.  Walking them again and again while they
come, and once more before they go, takes a third of the time of a short command (0.6 s against 0.4 s measured).
"""

from __future__ import annotations

import gc


def rest() -> None:
    """Collect nothing until L{resume}."""
    gc.disable()


def resume() -> None:
    """Collect again, what is there now left out; for whatever lives longer.  Harmless unless it rests."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def leave() -> None:
    """The process ends: the interpreter need not look for garbage once more."""
    gc.freeze()
