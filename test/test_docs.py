"""The documentation agrees with the program, and with itself."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import click
from twisted.trial.unittest import SkipTest, TestCase

import openclaw
from openclaw import errors
from test.http.support import routes_of_nothing

ROOT = Path(openclaw.__file__).parent.parent
DOCS = ROOT / "docs"

INTERNAL_CODES = {
    "cancelled",  # never sent: its caller is gone
    "config_invalid",  # these two end the start
    "start_failed",
    "forbidden",  # the raiser names a better one
}

NOT_FOR_USERS = {"OPENCLAW_COMPLETE", "OPENCLAW_REDACTED"}
"""What looks like a variable and is none that a person sets."""


def load_generate() -> ModuleType:
    """The module C{docs/generate.py}."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with mock.patch.object(sys, "path", list(sys.path)):
        spec.loader.exec_module(module)
    return module


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as they are made of them."""
    headings = re.findall(r"^#{1,3} (.+)$", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


class DocsTestCase(TestCase):
    """A test that needs a checkout."""

    def setUp(self) -> None:
        if not (DOCS / "generate.py").exists():
            raise SkipTest("not a checkout")
        self.generate = load_generate()
        self.pages = {path: path.read_text("utf-8") for path in sorted(DOCS.rglob("*.md"))}
        self.everything = "\n".join(self.pages.values())


class GeneratedPagesTests(DocsTestCase):
    """The generated pages are what they would be if they were made now."""

    def test_fresh(self) -> None:
        self.assertEqual(self.generate.stale(), [], "run: python docs/generate.py")

    def test_independent_of_the_terminal(self) -> None:
        before = self.generate.pages()
        with mock.patch.dict(os.environ, {"COLUMNS": "20", "HOME": "/elsewhere", "NO_COLOR": "1"}):
            self.assertEqual(self.generate.pages(), before)

    def test_no_paths(self) -> None:
        for name, text in self.generate.pages().items():
            self.assertNotIn(str(ROOT), text, name)
            self.assertNotIn(str(Path.home()) + "/", text, name)

    def test_a_changed_and_a_foreign_page_are_stale(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, text in self.generate.pages().items():
            (folder / name).write_text(text, "utf-8")
        self.assertEqual(self.generate.stale(folder), [])
        (folder / "metrics.md").write_text("old", "utf-8")
        (folder / "methods.md").unlink()
        (folder / "foreign.md").write_text("", "utf-8")
        self.assertEqual(self.generate.stale(folder), ["foreign.md", "methods.md", "metrics.md"])

    def test_command(self) -> None:
        """The command writes what is missing, and C{--check} writes nothing."""
        folder = Path(self.mktemp())
        with mock.patch.object(self.generate, "GENERATED", folder), mock.patch.object(self.generate, "stale") as stale:
            stale.return_value = ["metrics.md"]
            with mock.patch.object(sys, "stderr") as err:
                self.assertEqual(self.generate.main(["--check"]), 1)
            self.assertIn("metrics.md is stale", "".join(call.args[0] for call in err.write.call_args_list))
            self.assertFalse(folder.exists())
            self.assertEqual(self.generate.main([]), 0)
            self.assertEqual((folder / "metrics.md").read_text("utf-8"), self.generate.pages()["metrics.md"])
            (folder / "foreign.md").write_text("")
            stale.return_value = ["foreign.md"]
            self.assertEqual(self.generate.main([]), 0)
            self.assertFalse((folder / "foreign.md").exists())
            stale.return_value = []
            self.assertEqual(self.generate.main(["--check"]), 0)

    def test_every_command(self) -> None:
        """Each command of the table is in the reference, and its options are."""
        page = self.generate.pages()["commands.md"]
        for command in self.generate.cli.commands_at:
            self.assertIn(f"\n## openclaw {command}\n", page)
        self.assertIn("`--expect-current-absent`", page)
        self.assertIn("### openclaw gateway install", page)


class MeaningsTests(DocsTestCase):
    """Every key, method and parameter says what it is for."""

    def test_keys(self) -> None:
        settings = {setting.key: self.generate.meaning_of(setting) for setting in self.generate.settings()}
        self.assertEqual([key for key, meaning in settings.items() if not meaning], [], "no meaning")
        self.assertEqual([key for key, meaning in settings.items() if re.search(r"\bNone\b|_", meaning)], [], "Python")
        self.assertEqual(set(self.generate.meanings.KEYS) - set(settings), set(), "no such key any more")

    def test_own_keys(self) -> None:
        """Each exists, and the table of them in the prose is complete."""
        keys = [setting.key for setting in self.generate.settings()]
        prose = (DOCS / "configuration.md").read_text("utf-8")
        for own in self.generate.OWN_KEYS:
            self.assertTrue([key for key in keys if key == own or key.startswith(f"{own}.")], own)
            if not own.startswith("agents.list."):
                self.assertIn(f"| `{own}` |", prose)

    def test_methods(self) -> None:
        methods = self.generate.method_table()
        self.assertEqual(
            [name for name in methods.names if len(self.generate.summary_of(methods.find(name))) < 10], [], "no summary"
        )
        self.assertEqual(set(self.generate.meanings.METHODS) - set(methods.names), set())

    def test_parameters(self) -> None:
        page = self.generate.pages()["methods.md"]
        self.assertEqual(re.findall(r"^\| `(\w+)` \|.*\|  \|$", page, re.M), [], "no meaning")
        used = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
        self.assertEqual(set(self.generate.meanings.PARAMETERS) - used, set())


class AgreementTests(DocsTestCase):
    """What a client or a user meets is in the pages."""

    def test_routes(self) -> None:
        prose = (DOCS / "http-api.md").read_text("utf-8")
        for route in routes_of_nothing():
            self.assertIn(route.path.partition("{")[0], prose)

    def test_error_codes(self) -> None:
        prose = (DOCS / "http-api.md").read_text("utf-8")
        kinds = [
            kind
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, errors.OpenClawError) and kind.default_code
        ]
        self.assertGreater(len(kinds), 20)
        for kind in kinds:
            if kind.default_code not in INTERNAL_CODES:
                self.assertIn(f"`{kind.default_code}`", prose, kind.__name__)

    def test_variables(self) -> None:
        """Every variable of the environment that the program reads."""
        source = "\n".join(path.read_text("utf-8") for path in (ROOT / "openclaw").rglob("*.py"))
        read = set(re.findall(r"\bOPENCLAW_[A-Z][A-Z_]*[A-Z]\b", source)) - NOT_FOR_USERS
        self.assertIn("OPENCLAW_STATE_DIR", read)
        self.assertEqual([name for name in sorted(read) if name not in self.everything], [])

    def test_metrics(self) -> None:
        """The names of metrics that the prose mentions exist."""
        known = self.generate.pages()["metrics.md"]
        prose = "\n".join(text for path, text in self.pages.items() if path.parent == DOCS)
        for name in set(re.findall(r"\bopenclaw_(?:run|model|session|queue|memory|gateway|http)\w+", prose)):
            self.assertIn(f"`{name}`", known)


class NamedCommandsTests(DocsTestCase):
    """What the prose calls a command is one; those in blocks are run by test/scenario/test_docs_commands.py."""

    def check(self, words: list[str]) -> None:
        group: click.Command = self.generate.cli
        ctx = click.Context(group, info_name="openclaw", **group.context_settings)
        while isinstance(group, click.Group) and words and not words[0].startswith("-"):
            name, *words = words
            command = group.get_command(ctx, name)
            if command is None:
                raise click.UsageError(f"no such command: {name}")
            group, ctx = command, click.Context(command, info_name=name, parent=ctx)
        known = {option for param in group.params for option in (*param.opts, *param.secondary_opts)}
        for word in words:
            if word.startswith("-") and word not in known:
                raise click.UsageError(f"no such option: {word}")

    def test_inline(self) -> None:
        found = 0
        for path, text in self.pages.items():
            if path.parent != DOCS:
                continue
            for told in re.findall(r"`openclaw ([a-z][^`\n]*)`", text):
                found += 1
                try:
                    self.check(shlex.split(told))
                except click.UsageError as error:
                    self.fail(f"{path.name}: openclaw {told}: {error.message}")
        self.assertGreater(found, 10)

    def test_a_wrong_one_is_found(self) -> None:
        for told in ("nope", "gateway nope", "config set --nope x"):
            with self.assertRaises(click.UsageError):
                self.check(told.split())


class LinksTests(DocsTestCase):
    """Links from page to page lead somewhere."""

    def test_links(self) -> None:
        found = 0
        for path, text in self.pages.items():
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if "://" in target:
                    continue
                found += 1
                name, _, anchor = target.partition("#")
                page = (path.parent / name).resolve() if name else path
                self.assertTrue(page.exists(), f"{path.name}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(page.read_text("utf-8")), f"{path.name}: {target}")
        self.assertGreater(found, 10)

    def test_site(self) -> None:
        """The site builds without a warning."""
        if not all(importlib.util.find_spec(name) for name in ("sphinx", "myst_parser", "furo")):
            raise SkipTest("Sphinx is not installed: pip install 'openclaw[docs]'")
        out = Path(self.mktemp())
        done = subprocess.run(
            [sys.executable, "-P", "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(out)],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue((out / "generated" / "commands.html").exists())
