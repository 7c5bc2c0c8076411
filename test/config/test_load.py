"""Files, C{.env}, includes and warnings."""

from __future__ import annotations

import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from openclaw.config.auth_mode import effective_auth
from openclaw.config.load import MAX_CONFIG_BYTES, LoadedConfig, load_config, parse_config, read_document
from openclaw.config.schema import Config
from openclaw.errors import ConfigError, StartError

from .documents import ENVIRONMENTS, GOOD, PROXY, REFUSED, TOKEN, auth, one_provider


class RealConfigTests(SynchronousTestCase):
    """Configurations as users have them."""

    def test_good(self) -> None:
        """Each one loads, and gives its mode and secret."""
        for name, (document, mode, secret) in GOOD.items():
            config, warnings = parse_config(document, {})
            found = effective_auth(config, ENVIRONMENTS.get(name, {}))
            self.assertEqual(mode, found.mode, name)
            self.assertEqual(secret, found.secret.reveal() if found.secret else None, name)
            self.assertEqual(1, len(warnings), name)

    def test_values(self) -> None:
        """What stands in the documents arrives."""
        config, warnings = parse_config(GOOD["full"][0], {})
        self.assertEqual(18999, config.gateway.port)
        self.assertTrue(config.gateway.http.endpoints.responses.enabled)
        self.assertFalse(config.gateway.http.endpoints.chat_completions.reasoning)
        limit = config.gateway.auth.rate_limit
        assert limit is not None
        self.assertEqual((3, 60000, 20000, False), attrs_values(limit))
        model = config.models.providers["mock"].models[1]
        self.assertEqual(("m2", 8192, ("text", "image")), (model.id, model.max_tokens, model.input))
        self.assertEqual(
            (
                "these settings are accepted and not used: models.providers.*.models.*.cost, "
                "agents.defaults.skipBootstrap, agents.defaults.models",
            ),
            warnings,
        )
        self.assertEqual(5, parse_config(GOOD["timeout"][0], {})[0].agents.defaults.timeout_seconds)
        origins = parse_config(GOOD["origins"][0], {})[0].gateway
        self.assertEqual(("https://gw.example",), origins.control_ui.allowed_origins)
        self.assertEqual(("https://app.example",), origins.http.cors.allowed_origins)

    def test_refused(self) -> None:
        """Each one is refused, when it is read or when the credential is asked for."""
        for name, (document, text) in REFUSED.items():
            with self.assertRaises((ConfigError, StartError), msg=name) as caught:
                effective_auth(parse_config(document, {})[0], {})
            self.assertEqual(text, caught.exception.message, name)

    def test_proxy(self) -> None:
        """The mode trusted-proxy is a valid configuration."""
        config, _ = parse_config(PROXY, {})
        proxy = config.gateway.auth.trusted_proxy
        assert proxy is not None
        self.assertEqual(("x-proxy-ok",), proxy.required_headers)

    def test_foreign_model(self) -> None:
        """A model whose provider is not configured is worth a warning, for the defaults and for agents."""
        document = {
            "agents": {
                "defaults": {"model": {"primary": "acme/m", "fallbacks": ["local/smollm2-135m"]}},
                "entries": {"Main": {"model": "other/x"}, "b": {"model": "local/m"}},
            }
        }
        self.assertEqual(
            (
                "agents.defaults.model: no provider is configured for acme/m",
                "agents.entries.main.model: no provider is configured for other/x",
                "agents.entries.b.model: the embedded model is local/smollm2-135m, not local/m",
            ),
            parse_config(document, {})[1],
        )


def attrs_values(limit: object) -> tuple[object, ...]:
    """The fields of a rate limit."""
    return tuple(getattr(limit, name) for name in ("max_attempts", "window_ms", "lockout_ms", "exempt_loopback"))


class FileCase(SynchronousTestCase):
    """Has a folder and writes into it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "openclaw.json"

    def write(self, text: str | bytes, mode: int = 0o600) -> None:
        """Write the configuration file."""
        self.path.write_bytes(text.encode() if isinstance(text, str) else text)
        self.path.chmod(mode)

    def load(self, **environ: str) -> LoadedConfig:
        """Load it."""
        return load_config(self.path, environ)

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the file."""
        error = self.assertRaises(ConfigError, self.load)
        self.assertEqual(str(self.path), error.path)
        return error.problems


class LoadTests(FileCase):
    """L{load_config}."""

    def test_missing(self) -> None:
        """No file: the defaults, and no warning."""
        self.assertEqual(LoadedConfig(Config(), self.path, False, (), {"A": "b"}), self.load(A="b"))
        self.path = self.path / "below" / "nothing"
        self.assertFalse(self.load().exists)
        self.path = self.folder / "a-file"
        self.write("x")
        self.path = self.path / "openclaw.json"
        self.assertFalse(self.load().exists)

    def test_json5(self) -> None:
        """Comments, trailing commas, bare keys, single quotes and a byte order mark are fine."""
        self.write("\ufeff// mine\n{gateway: {port: 0x1000, /* x */ auth: {token: 'a'},},}")
        loaded = self.load()
        self.assertTrue(loaded.exists)
        self.assertEqual(4096, loaded.config.gateway.port)
        self.assertEqual((), loaded.warnings)

    def test_read_document(self) -> None:
        """The document as it is written."""
        self.assertIsNone(read_document(self.path))
        self.write("{gateway: {auth: {token: '${X}'}}}")
        self.assertEqual({"gateway": {"auth": {"token": "${X}"}}}, read_document(self.path))

    def test_syntax(self) -> None:
        """A syntax error tells where it is."""
        for text, problem in [
            ('{"gateway": {"mode": "local",', "line 1, column 13: not valid JSON5: unclosed object"),
            ("{a: 1,\n b: @}", 'line 2, column 5: not valid JSON5: expected JSON5Value, found "@"'),
            ("{a: 1\nb: 2}", 'line 2, column 1: not valid JSON5: expected comma or "}", found "b"'),
            ("{}\nx", 'line 2, column 1: not valid JSON5: extra data "x"'),
            ("", "line 1, column 1: not valid JSON5: the file holds no data"),
            ("// only this", "line 1, column 1: not valid JSON5: the file holds no data"),
        ]:
            self.write(text)
            self.assertEqual((problem,), self.problems())

    def test_depth_bomb(self) -> None:
        """Deep nesting is refused."""
        self.write("{a:" + "[" * 100_000)
        self.assertEqual(("nested too deeply; at most 64 levels",), self.problems())

    def test_not_utf8(self) -> None:
        """Another encoding is named with its line."""
        self.write(b"{\n\xff}")
        self.assertEqual(("line 2: not UTF-8",), self.problems())

    def test_too_large(self) -> None:
        """More than two megabytes are not read."""
        self.write(" " * (MAX_CONFIG_BYTES - 2) + "{}")
        self.assertTrue(self.load().exists)
        self.write(" " * (MAX_CONFIG_BYTES - 1) + "{}")
        self.assertEqual((f"{self.path} is larger than {MAX_CONFIG_BYTES} bytes",), self.problems())

    def test_kinds_of_files(self) -> None:
        """Dangling links, folders and pipes are refused, and nothing waits for a pipe's writer."""
        for make, text in [
            (
                lambda: self.path.symlink_to("elsewhere"),
                f"is a symbolic link to {self.path.resolve().with_name('elsewhere')}, which is not there",
            ),
            (lambda: self.path.symlink_to(self.path.name), "cannot be read: Too many levels of symbolic links"),
            (lambda: self.path.symlink_to("/dev/null"), "is not a regular file"),
            (self.path.mkdir, "is not a regular file"),
            (lambda: os.mkfifo(self.path), "is not a regular file"),
        ]:
            make()
            self.assertEqual((f"{self.path} {text}",), self.problems())
            if self.path.is_dir():
                self.path.rmdir()
            else:
                self.path.unlink()

    def test_links(self) -> None:
        """The settings, and the secrets beside them, may lie in a folder of their own."""
        self.write("{gateway: {auth: {token: '${TOKEN}'}}}")
        folder = self.path.parent / "dotfiles"
        folder.mkdir()
        (folder / "secrets").write_text("TOKEN=0123456789abcdef")
        self.path.symlink_to(self.path.rename(folder / "settings"))
        (self.path.parent / ".env").symlink_to("dotfiles/secrets")
        loaded = self.load()
        self.assertEqual((True, self.path, ()), (loaded.exists, loaded.path, loaded.warnings))
        assert loaded.config.gateway.auth.token is not None
        self.assertEqual("0123456789abcdef", loaded.config.gateway.auth.token.reveal())

    def test_unreadable(self) -> None:
        """A file that cannot be opened is named."""

        def refuse(*args: object) -> int:
            raise PermissionError(13, "Permission denied")

        self.patch(os, "open", refuse)
        loaded = self.assertRaises(ConfigError, self.load)
        self.assertEqual((f"{self.path} cannot be read: Permission denied",), loaded.problems)

    def test_invalid(self) -> None:
        """Problems of the content carry the path too."""
        self.write("{gateway: {port: 'x'}, gatway: {}}")
        self.assertEqual(2, len(self.problems()))

    def test_readable_secrets(self) -> None:
        """A secret in a file that others can read is worth a warning; one in the environment is not."""
        warning = f"{self.path} holds secrets and other users can read it; run: chmod 600 {self.path}"
        for document in (
            auth(token=TOKEN),
            auth(password=TOKEN),
            one_provider(apiKey="k"),
            one_provider(headers={"X-K": "k"}),
            {"env": {"vars": {"K": "k"}}},
            {"env": {"K": "k"}},
        ):
            self.write(json.dumps(document), 0o640)
            self.assertEqual((warning,), self.load().warnings)
            self.write(json.dumps(document), 0o600)
            self.assertEqual((), self.load().warnings)
        self.write(json.dumps(auth(token="${K}")), 0o644)
        self.assertEqual((), self.load(K="k").warnings)
        self.write(json.dumps(auth(token={"source": "env", "id": "K"})), 0o644)
        self.assertEqual((), self.load(K="k").warnings)

    def test_writable(self) -> None:
        """A file that everybody can change is told as that, whatever it holds."""
        warning = f"every user of this machine can change {self.path}; run: chmod 600 {self.path}"
        for document in (auth(token=TOKEN), {}):
            self.write(json.dumps(document), 0o646)
            self.assertEqual((warning,), self.load().warnings)


class SubstitutionTests(FileCase):
    """Where values come from."""

    def test_precedence(self) -> None:
        """The environment beats C{.env}, which beats C{env.vars}, which beats bare names."""
        document = {
            "env": {"vars": {"A": "vars", "B": "vars", "C": "vars"}, "C": "bare", "D": "bare", "E": "-${A}"},
            **one_provider(headers={name: f"${{{name}}}" for name in "ABCDE"}),
        }
        self.write(json.dumps(document))
        (self.folder / ".env").write_text("A=file\nB=file\n")
        loaded = self.load(A="process")
        headers = loaded.config.models.providers["p"].headers
        self.assertEqual(
            {"A": "process", "B": "file", "C": "vars", "D": "bare", "E": "-process"},
            {name: secret.reveal() for name, secret in headers.items()},
        )
        self.assertEqual("file", loaded.environ["B"])
        self.assertEqual("bare", loaded.environ["D"])
        self.assertNotIn("process", repr(loaded))

    def test_credential_from_dotenv(self) -> None:
        """The credential may lie in C{.env}, without any configuration file."""
        (self.folder / ".env").write_text("OPENCLAW_GATEWAY_TOKEN=t\n")
        loaded = self.load()
        found = effective_auth(loaded.config, loaded.environ)
        assert found.secret is not None
        self.assertEqual("t", found.secret.reveal())

    def test_state_dir(self) -> None:
        """C{.env} lies in the state folder."""
        for number, folder in enumerate(("given", "named")):
            (self.folder / folder).mkdir()
            (self.folder / folder / ".env").write_text(f"A={number}\n")
        environ = {"OPENCLAW_STATE_DIR": str(self.folder / "named")}
        self.assertEqual("0", load_config(self.path, environ, self.folder / "given").environ["A"])
        self.assertEqual("1", load_config(self.path, environ).environ["A"])
        self.assertNotIn("A", load_config(self.path, {}).environ)

    def test_bad_dotenv(self) -> None:
        """A C{.env} that cannot be understood is named and does not stop the gateway."""
        dotenv = self.folder / ".env"
        dotenv.write_text("A=1\nnonsense\n")
        self.assertEqual((f"{dotenv}: line 2 is not NAME=value; it is not used",), self.load().warnings)
        dotenv.write_bytes(b"A=\xff")
        self.assertEqual((f"{dotenv} is not UTF-8; it is not used",), self.load().warnings)
        dotenv.write_text("#" * 70_000)
        self.assertEqual((f"{dotenv} is larger than 65536 bytes; it is not used",), self.load().warnings)

    def test_missing_names(self) -> None:
        """Each key that lacks a variable is named; the text stays."""
        document = {
            **auth(token="${T1}-${T2}-${T1}"),
            "env": {"K": "${NO}"},
            **one_provider(apiKey={"source": "env", "provider": "default", "id": "NO"}, baseUrl="http://h/${NO}"),
        }
        config, warnings = parse_config(document, {"NO": ""})
        self.assertEqual(
            {
                "env.K: environment variable not set: NO",
                "gateway.auth.token: environment variables not set: T1, T2",
                "models.providers.p.apiKey: environment variable not set: NO",
                "models.providers.p.baseUrl: environment variable not set: NO",
            },
            set(warnings),
        )
        token, key = config.gateway.auth.token, config.models.providers["p"].api_key
        assert token is not None
        assert key is not None
        self.assertEqual(("${T1}-${T2}-${T1}", ("T1", "T2")), (token.reveal(), token.missing))
        self.assertEqual(("", ("NO",), True), (key.reveal(), key.missing, key.reference))
        self.assertEqual("http://h/${NO}", config.models.providers["p"].base_url)
        self.assertEqual({}, config.env.values())

    def test_unused_sections_are_not_looked_into(self) -> None:
        """What we do not use may hold anything."""
        document = {"channels": {"x": "${NO}", "$include": "y", "z": [None]}, "meta": {"x": 1}, "$schema": "s"}
        config, warnings = parse_config(document, {})
        self.assertEqual(("these settings are accepted and not used: channels",), warnings)
        self.assertEqual("s", config.schema)
