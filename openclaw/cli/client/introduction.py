"""What a client says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs


@attrs.frozen
class Introduction:
    """
    What a client says of itself.

    @ivar scopes: what it wants to be allowed; no more than it needs.
    @ivar mode: C{probe} talks to gateways of older versions too, and may do next to nothing.
    """

    scopes: Sequence[str] = ("operator.read",)
    mode: Literal["cli", "probe"] = "cli"


READER = Introduction()
"""A client that only reads."""
