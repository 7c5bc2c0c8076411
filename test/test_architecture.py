"""
The shape of the code, checked: who may import whom, how large things may be, what modules may be made of.

The order of the layers is that of C{docs/architecture.md}.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import openclaw
import test

PACKAGE = Path(openclaw.__file__).parent

LAYERS = (
    (
        "_version",
        "autobahn_internals",
        "descriptors",
        "errors",
        "ids",
        "installation",
        "messages",
        "events",
        "interfaces",
        "log",
        "log_files",
        "log_levels",
        "log_lines",
        "log_rare",
        "log_stream",
        "log_syslog",
        "log_twistd",
        "metrics",
        "models",
        "records",
        "redact",
        "stores",
        "twisted_internals",
        "waits",
        "wire",
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

LIBRARIES_INSIDE = {"openclaw.autobahn_internals", "openclaw.twisted_internals"}
"""The only modules that lean on what a library keeps to itself."""

ALLOWED_PRIVATE_NAMES = {
    f"openclaw.{name}: _exit"
    for name in ("cli.client.loop", "process.failures", "providers.local_child", "process.signals")
}
"""C{os._exit} is public all the same."""

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 80
MAX_CONSTRUCTOR_ARGUMENTS = 7

WIRE_RECORDS = {
    # Sections of the configuration file, key by key.
    "openclaw.config.compat.CompatConfig",
    "openclaw.config.gateway.GatewayConfig",
    "openclaw.config.models.ModelConfig",
    "openclaw.config.models.ProviderConfig",
    # Rows of the store, column by column.
    "openclaw.records.Entry",
    "openclaw.records.KeptResult",
    "openclaw.records.RunRecord",
    # What of a request is the model's business, as OpenAI names it.
    "openclaw.models.Sampling",
}
"""
Classes with as many fields as what they mirror has, whatever the rule says of the others.

What msgspec decodes is not looked at: nobody calls those constructors.  Nor are functions: those of click take an
argument for each option.
"""


@cache
def modules() -> list[tuple[str, ast.Module, str]]:
    """Name, syntax tree and text of every module of the package."""
    found: list[tuple[str, ast.Module, str]] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text()
        found.append((name, ast.parse(text), text))
    return found


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


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """Module and syntax tree of every class of the package, those within others too."""
    for name, tree, _ in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield name, node


def constructor_arguments(node: ast.ClassDef) -> int:
    """How many arguments a class takes: those of its C{__init__}, or the fields that attrs makes it of."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            given = statement.args
            return len([*given.posonlyargs, *given.args, *given.kwonlyargs]) - 1
    if not any("attrs" in ast.unparse(decorator) for decorator in node.decorator_list):
        return 0
    return sum(
        isinstance(statement, ast.AnnAssign)
        and "ClassVar" not in ast.unparse(statement.annotation)
        and not (statement.value is not None and "init=False" in ast.unparse(statement.value))
        for statement in node.body
    )


def circles() -> set[tuple[str, ...]]:
    """The modules that import one another, whatever they go through; imports for type checking count."""
    names = {name for name, _, _ in modules()}
    found: dict[str, set[str]] = {}
    for name, tree, _ in modules():
        targets = {f"{module}.{imported}" for module, imported in imports(tree)} | {each for each, _ in imports(tree)}
        found[name] = (targets & names) - {name}
    reached = {name: set(targets) for name, targets in found.items()}
    for middle in names:
        for name in names:
            if middle in reached[name]:
                reached[name] |= reached[middle]
    members = {name: {other for other in reached[name] if name in reached[other]} for name in names}
    return {tuple(sorted(circle)) for circle in members.values() if len(circle) > 1}


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

    def test_no_circles(self) -> None:
        """No two modules need each other, those of one folder neither."""
        self.assertEqual(circles(), set())

    def test_constructors(self) -> None:
        """A class takes no more than so much; a plan and a context stand in place of a long list."""
        long = {
            f"{name}.{node.name}" for name, node in classes() if constructor_arguments(node) > MAX_CONSTRUCTOR_ARGUMENTS
        }
        self.assertEqual(long - WIRE_RECORDS, set())
        self.assertEqual(WIRE_RECORDS - long, set(), "named without need")

    def test_one_name_one_class(self) -> None:
        """No two public classes share a name."""
        homes: dict[str, list[str]] = {}
        for name, node in classes():
            if not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name)
        shared = {name: where for name, where in homes.items() if len(where) > 1}
        self.assertEqual(shared, {})

    def test_names_not_packages(self) -> None:
        """Names are imported from the modules that define them: C{__init__} modules hold a docstring and no more."""
        for name, tree, _ in modules():
            if (PACKAGE.parent / name.replace(".", "/") / "__init__.py").exists():
                self.assertEqual([type(node).__name__ for node in tree.body], ["Expr"], name)

    def test_one_reactor(self) -> None:
        """Only the composition root and the plugin's module know the global reactor."""
        users = {name for name, tree, _ in modules() if ("twisted.internet", "reactor") in set(imports(tree))}
        self.assertEqual(users - REACTOR_OWNERS, set())

    def test_libraries_inside(self) -> None:
        """What is private to Twisted, and all of Autobahn, is known to one module each."""
        wrong = [
            f"{name} imports {target}"
            for name, tree, _ in modules()
            for target, _imported in imports(tree)
            if (target.startswith("twisted.") and "._" in target and name != "openclaw.twisted_internals")
            or (target.startswith("autobahn") and name != "openclaw.autobahn_internals")
        ]
        self.assertEqual(wrong, [])

    def test_private_names(self) -> None:
        """No module uses a name that begins with an underscore and is not its own."""
        wrong: list[str] = []
        for name, tree, _ in modules():
            if name in LIBRARIES_INSIDE:
                continue
            own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_made(node)}
            own |= {getattr(node, "name", "") or getattr(node, "id", "") for node in ast.walk(tree)}
            used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            wrong += [f"{name}: {attr}" for attr in used - own if attr[:1] == "_" and attr[:2] != "__"]
        self.assertEqual(set(wrong) - ALLOWED_PRIVATE_NAMES, set())

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
        """Every public module, class and function says what it is, a method where its Protocol does not."""
        wrong: list[str] = []
        promised = _promised()
        for name, tree, _ in modules():
            if ast.get_docstring(tree) is None:
                wrong.append(name)
            for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]:
                if isinstance(scope, ast.ClassDef) and scope.name.startswith("_"):
                    continue
                for node in scope.body:
                    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                        continue
                    is_told = isinstance(scope, ast.ClassDef) and node.name in promised
                    if node.name.startswith("_") or is_told or _overrides(node):
                        continue
                    if ast.get_docstring(node) is None:
                        wrong.append(f"{name}.{getattr(scope, 'name', '')}.{node.name}")
        self.assertEqual(wrong, [])


def _is_made(node: ast.Attribute) -> bool:
    """Whether an attribute is set on C{self}, which makes it one of the module's own."""
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _promised() -> set[str]:
    """Names of the methods that a Protocol of the package documents."""
    return {
        method.name
        for _, node in classes()
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
        for method in node.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(method)
    }


def _overrides(node: ast.stmt) -> bool:
    """Whether a function has the camelCase name of a method of Twisted or Autobahn, which documents it."""
    name = getattr(node, "name", "")
    return isinstance(node, ast.FunctionDef) and (name != name.lower() or name in _INHERITED)


_INHERITED = {"render", "list_commands", "get_command", "format_commands"}
