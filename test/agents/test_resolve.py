"""Tests of L{openclaw.agents.resolve}."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.resolve import Selection, Target, agent_model_ref, model_names, resolve
from openclaw.config.agents import AgentEntry, ModelChoice, SystemAgent
from openclaw.config.models import LocalModelConfig, ModelsConfig, ProviderConfig
from openclaw.config.schema import Config
from openclaw.errors import InvalidRequest, ModelNotFound
from openclaw.ids import SessionKey
from test.fakes import config_with

RUN_ID = "chatcmpl_0b5f0a4e-6d4c-4c2b-8d8e-000000000001"
ONE = Config()
TWO = config_with({"main": AgentEntry(), "ops": AgentEntry(default=True)})
UNDECIDED = config_with({"main": AgentEntry(), "ops": AgentEntry()})


def resolved(config: Config = ONE, **selection: object) -> Target:
    return resolve(config, Selection(**selection), RUN_ID)  # type: ignore[arg-type]


class AgentTests(SynchronousTestCase):
    def test_spellings_of_the_default_agent(self) -> None:
        for model in (None, "", "  ", "openclaw", "openclaw/default", " OpenClaw ", "OPENCLAW/DEFAULT"):
            self.assertEqual("main", resolved(model=model).agent_id, model)
            self.assertEqual("ops", resolved(TWO, model=model).agent_id, model)

    def test_spellings_of_an_agent(self) -> None:
        for model in ("openclaw/main", "openclaw:main", "agent:main", "OpenClaw/MAIN", "Agent: main "):
            self.assertEqual("main", resolved(TWO, model=model).agent_id, model)

    def test_anything_else_is_unknown(self) -> None:
        for model in (
            "gpt-4o",
            "openclaw-main",
            "main",
            "openclaw/zzz",
            "openclaw/",
            "agent:",
            "openclaw/a b",
            "agent",
        ):
            error = self.assertRaises(ModelNotFound, resolved, TWO, model=model)
            self.assertEqual((400, "model_not_found", "model"), (error.http_status, error.code, error.param), model)

    def test_header_beats_model(self) -> None:
        self.assertEqual("ops", resolved(TWO, model="openclaw/main", agent_id="ops").agent_id)
        self.assertEqual("main", resolved(TWO, model="openclaw/zzz", agent_id=" MAIN ").agent_id)
        self.assertEqual("main", resolved(UNDECIDED, agent_id="main").agent_id)

    def test_blank_header_is_none(self) -> None:
        self.assertEqual("main", resolved(TWO, model="openclaw/main", agent_id="  ").agent_id)

    def test_model_must_be_one_of_ours_besides_the_header(self) -> None:
        self.assertRaises(ModelNotFound, resolved, TWO, model="gpt-4o", agent_id="main")

    def test_unknown_agent_in_the_header(self) -> None:
        error = self.assertRaises(ModelNotFound, resolved, TWO, agent_id="zzz")
        self.assertEqual("x-openclaw-agent-id", error.param)

    def test_several_agents_without_a_default(self) -> None:
        error = self.assertRaises(ModelNotFound, resolved, UNDECIDED, model="openclaw")
        self.assertIn("openclaw/<agent id>", error.message)
        self.assertEqual("main", resolved(UNDECIDED, model="openclaw/main").agent_id)

    def test_several_agents_with_a_system_agent(self) -> None:
        config = config_with({"main": AgentEntry(), "ops": AgentEntry()}, system_agent=SystemAgent("Ops"))
        self.assertEqual("ops", resolved(config).agent_id)


class ModelTests(SynchronousTestCase):
    def test_embedded_by_default(self) -> None:
        self.assertEqual("local/smollm2-135m", resolved().model_ref)
        other = attrs.evolve(ONE, models=ModelsConfig(local=LocalModelConfig(model="x")))
        self.assertEqual("local/x", agent_model_ref(other, "main"))

    def test_of_the_defaults_and_of_the_agent(self) -> None:
        config = config_with({"a": AgentEntry(model=ModelChoice("p/a")), "b": AgentEntry()}, model=ModelChoice("p/d"))
        self.assertEqual(["p/a", "p/d"], [agent_model_ref(config, agent_id) for agent_id in "ab"])

    def test_override(self) -> None:
        self.assertEqual("p/other/x", resolved(model_override=" p/other/x ").model_ref)
        self.assertEqual("local/smollm2-135m", resolved(model_override="  ").model_ref)


class SessionTests(SynchronousTestCase):
    def test_precedence(self) -> None:
        chosen = {
            "session_key": "k",
            "chat_id": ("X-OpenWebUI-Chat-Id", "c"),
            "metadata_session_id": "m",
            "user": "u",
        }
        expected = [
            ("key", "agent:main:k"),
            ("chat", "agent:main:openai-chat:c"),
            ("metadata", "agent:main:openai-chat:m"),
            ("user", "agent:main:openai-user:u"),
            ("fresh", f"agent:main:openai:{RUN_ID[9:]}"),
        ]
        for source, key in expected:
            target = resolved(**chosen)
            self.assertEqual((source, key), (target.key_source, str(target.session_key)))
            self.assertEqual(source != "fresh", target.is_stable)
            chosen.pop(next(iter(chosen), ""), None)

    def test_user_is_trimmed_and_keeps_its_case(self) -> None:
        self.assertEqual("openai-user:Alice B", resolved(user="  Alice B ").session_key.rest)
        self.assertEqual("fresh", resolved(user="   ").key_source)

    def test_keys_keep_their_case(self) -> None:
        self.assertEqual("Work", resolved(session_key="Work").session_key.rest)
        self.assertEqual("openai-chat:Ab", resolved(chat_id=("X-Conversation-Id", "Ab")).session_key.rest)

    def test_full_key_of_the_same_agent(self) -> None:
        for text in ("agent:ops:Work:x", "AGENT:OPS:Work:x"):
            self.assertEqual(SessionKey("ops", "Work:x"), resolved(TWO, session_key=text).session_key)

    def test_another_agents_key(self) -> None:
        error = self.assertRaises(InvalidRequest, resolved, TWO, session_key="agent:main:x")
        self.assertEqual("x-openclaw-session-key", error.param)
        self.assertEqual("main", resolved(TWO, session_key="agent:main:x", agent_id="main").session_key.agent_id)

    def test_reserved_keys(self) -> None:
        for text in ("subagent:x", "Cron:x", "ACP:", "agent:ops:cron:x", "agent:OPS:SubAgent:x"):
            error = self.assertRaises(InvalidRequest, resolved, TWO, session_key=text)
            self.assertIn("reserved", error.message)
        self.assertEqual("subagentx", resolved(session_key="subagentx").session_key.rest)
        # Behind our own prefix they are harmless.
        self.assertEqual("openai-user:cron:x", resolved(user="cron:x").session_key.rest)

    def test_what_no_key_may_hold(self) -> None:
        fields = (
            ("session_key", "x-openclaw-session-key"),
            ("metadata_session_id", "metadata.session_id"),
            ("user", "user"),
        )
        for field, param in fields:
            for text in ("a\nb", "a\x00", "a\x7fb", "a\x85b", "a\ud800b", "k" * 513, "é" * 257):
                error = self.assertRaises(InvalidRequest, resolved, **{field: text})
                self.assertEqual(param, error.param)
            self.assertTrue(resolved(**{field: "é" * 256}).is_stable)
        error = self.assertRaises(InvalidRequest, resolved, chat_id=("X-Conversation-Id", "a\tb"))
        self.assertEqual("X-Conversation-Id", error.param)
        for field in ("session_key", "metadata_session_id"):
            self.assertRaises(InvalidRequest, resolved, **{field: ""})

    def test_malformed_full_keys(self) -> None:
        for text in ("agent:", "agent:main", "agent:main:", "agent::x", "agent:a b:x"):
            self.assertRaises(InvalidRequest, resolved, session_key=text)


class ModelNamesTests(SynchronousTestCase):
    def test_one_agent(self) -> None:
        self.assertEqual(("openclaw", "openclaw/default", "openclaw/main"), model_names(ONE))

    def test_several_agents(self) -> None:
        self.assertEqual(("openclaw", "openclaw/default", "openclaw/main", "openclaw/ops"), model_names(TWO))
        self.assertEqual(("openclaw/main", "openclaw/ops"), model_names(UNDECIDED))

    def test_only_the_embedded_model_that_is_there(self) -> None:
        config = config_with({"a": AgentEntry(model=ModelChoice("local/other")), "b": AgentEntry()}, config=Config())
        self.assertEqual(("openclaw/b",), model_names(config))

    def test_only_agents_whose_provider_is_configured(self) -> None:
        models = ModelsConfig(providers={"p": ProviderConfig("http://127.0.0.1:1/v1")})
        entries = {
            "a": AgentEntry(model=ModelChoice("p/x")),
            "b": AgentEntry(model=ModelChoice("gone/x"), default=True),
            "c": AgentEntry(),
        }
        config = config_with(entries, config=Config(models=models))
        self.assertEqual(("openclaw/a", "openclaw/c"), model_names(config))

    def test_each_name_works(self) -> None:
        an_agent_named_default = [
            config_with({"default": AgentEntry(), "b": AgentEntry(default=True)}),
            config_with({"default": AgentEntry(), "b": AgentEntry()}),
            config_with({"default": AgentEntry()}),
        ]
        for config in (ONE, TWO, UNDECIDED, *an_agent_named_default):
            names = model_names(config)
            self.assertEqual(len(set(names)), len(names))
            served = [resolved(config, model=name).agent_id for name in names]
            self.assertEqual(set(config.agents.agent_ids), set(served))
