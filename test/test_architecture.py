"""
The shape of the code, checked: who may import whom, how large things may be, what modules may be made of.

The order of the layers is that of C{docs/architecture.md}.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import openclaw
import test

PACKAGE = Path(openclaw.__file__).parent

LAYERS = (
    (
        "_version",
        "errors",
        "ids",
        "messages",
        "events",
        "interfaces",
        "log",
        "log_files",
        "log_levels",
        "log_lines",
        "log_stream",
        "metrics",
        "models",
        "records",
        "redact",
        "stores",
        "waits",
    ),
    ("config",),
    ("store", "providers", "auth"),
    ("sessions",),
    ("tools",),
    ("agents",),
    ("sharing",),
    ("automation", "channels", "methods"),
    ("web",),
    ("http", "ws"),
    ("process", "gateway_log", "parts"),
    ("service",),
    ("tap",),
    ("cli",),
    ("__main__",),
)
"""From the lowest to the highest; what shares a line must not know one another (the lowest line excepted)."""

REACTOR_OWNERS = {"openclaw.service.foreground", "openclaw.tap", "openclaw.cli.client.loop"}
"""The only modules that import the global reactor: who serves, and the commands that call a gateway."""

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 80


def modules() -> Iterator[tuple[str, ast.Module, str]]:
    """Name, syntax tree and text of every module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text()
        yield name, ast.parse(text), text


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Module and name of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative imports"
            for alias in node.names:
                yield node.module or "", alias.name


def rank(layer: str) -> int:
    """The line of L{LAYERS} that a layer stands in."""
    for index, line in enumerate(LAYERS):
        if layer in line:
            return index
    raise AssertionError(f"{layer} has no place in the order of layers")


class ArchitectureTests(SynchronousTestCase):
    """The rules."""

    def test_own_tests(self) -> None:
        """C{test} is this checkout's and not the standard library's."""
        self.assertEqual(Path(test.__file__).parent, PACKAGE.parent / "test")

    def test_imports_go_down(self) -> None:
        """A module imports from lower layers and from its own, never from a sibling layer or a higher one."""
        wrong: list[str] = []
        for name, tree, _ in modules():
            if name == "openclaw":
                continue
            layer = name.split(".")[1]
            for target, _imported in imports(tree):
                if not target.startswith("openclaw."):
                    continue
                other = target.split(".")[1]
                allowed = other == layer or rank(other) < rank(layer) or rank(other) == rank(layer) == 0
                if not allowed:
                    wrong.append(f"{name} imports {target}")
        self.assertEqual(wrong, [])

    def test_names_not_packages(self) -> None:
        """Names are imported from the modules that define them: C{__init__} modules hold a docstring and no more."""
        for name, tree, _ in modules():
            if name.count(".") <= 1 and (PACKAGE.parent / name.replace(".", "/") / "__init__.py").exists():
                self.assertEqual([type(node).__name__ for node in tree.body], ["Expr"], name)

    def test_one_reactor(self) -> None:
        """Only the composition root and the plugin's module know the global reactor."""
        users = {name for name, tree, _ in modules() if ("twisted.internet", "reactor") in set(imports(tree))}
        self.assertEqual(users - REACTOR_OWNERS, set())

    def test_no_inline_callbacks(self) -> None:
        """Asynchronous code is C{async def}."""
        users = [name for name, _, text in modules() if "inlineCallbacks" in text]
        self.assertEqual(users, [])

    def test_no_async_generators(self) -> None:
        """An async generator that is cancelled while its consumer waits elsewhere never closes what it holds."""
        wrong = [
            f"{name}:{node.lineno}"
            for name, tree, _ in modules()
            for node in ast.walk(tree)
            if isinstance(node, ast.AsyncFunctionDef) and any(isinstance(inner, ast.Yield) for inner in ast.walk(node))
        ]
        self.assertEqual(wrong, [])

    def test_sizes(self) -> None:
        """Modules and functions stay readable."""
        wrong: list[str] = []
        for name, tree, text in modules():
            lines = text.count("\n")
            if lines > MAX_MODULE_LINES:
                wrong.append(f"{name} has {lines} lines")
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    size = (node.end_lineno or node.lineno) - node.lineno + 1
                    if size > MAX_FUNCTION_LINES:
                        wrong.append(f"{name}.{node.name} has {size} lines")
        self.assertEqual(wrong, [])

    def test_docstrings(self) -> None:
        """Every public module, class and function says what it is."""
        wrong: list[str] = []
        for name, tree, _ in modules():
            if ast.get_docstring(tree) is None:
                wrong.append(name)
            for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]:
                if isinstance(scope, ast.ClassDef) and scope.name.startswith("_"):
                    continue
                for node in scope.body:
                    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                        continue
                    if not node.name.startswith("_") and ast.get_docstring(node) is None and not _overrides(node):
                        wrong.append(f"{name}.{getattr(scope, 'name', '')}.{node.name}")
        self.assertEqual(wrong, [])


def _overrides(node: ast.stmt) -> bool:
    """Whether a function has the camelCase name of a method of Twisted or Autobahn, which documents it."""
    name = getattr(node, "name", "")
    return isinstance(node, ast.FunctionDef) and (name != name.lower() or name in _INHERITED)


_INHERITED = {"render", "list_commands", "get_command", "format_commands"}
