"""Tests of L{openclaw.agents.models}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from openclaw.agents.models import (
    Candidate,
    Prompt,
    candidate_refs,
    check_usable,
    falls_back,
    find_candidates,
    most_telling,
)
from openclaw.agents.resolve import Selection, resolve
from openclaw.config.agents import AgentEntry, ModelChoice
from openclaw.config.schema import Config
from openclaw.errors import (
    ContextTooLong,
    LastingProviderFailure,
    ModelNotFound,
    OpenClawError,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderModelUnknown,
    ProviderOverloaded,
    ProviderQuota,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    RunTimeout,
    TransientProviderTimeout,
)
from openclaw.models import ModelProfile, ResolvedModel, Sampling
from openclaw.providers.scripted import ScriptedProvider
from test.fakes import FixedCatalog, config_with, user


class PromptTests(SynchronousTestCase):
    def test_request(self) -> None:
        """Each model has its own name and its own limit of tokens."""
        prompt = Prompt((user("u"),), Sampling(temperature=0.5, max_tokens=50))
        for limit, asked in ((None, 50), (99, 50), (20, 20)):
            model = ResolvedModel("p/m/x", ScriptedProvider(), 4096, limit)
            request = prompt.request(model)
            self.assertEqual(("m/x", (user("u"),)), (request.model, request.messages))
            self.assertEqual((0.5, asked), (request.sampling.temperature, request.sampling.max_tokens))
        self.assertEqual(20, Prompt(()).request(model).sampling.max_tokens)

    def test_session(self) -> None:
        """The profile goes along, and makes of the session's key what the provider is told of it."""
        for names, key, told in ((str.upper, "key", "KEY"), (None, "key", None), (str.upper, None, None)):
            profile = ModelProfile(think_tags=False, session_ids=names)
            request = Prompt((), session_key=key).request(
                ResolvedModel("p/m", ScriptedProvider(), 4096, None, profile=profile)
            )
            self.assertEqual((profile, told), (request.profile, request.session_id))


class CandidateRefsTests(SynchronousTestCase):
    def refs(self, config: Config, agent_id: str | None = None, override: str | None = None) -> tuple[str, ...]:
        target = resolve(config, Selection(agent_id=agent_id, model_override=override), "run_1")
        return candidate_refs(config, target, overridden=override is not None)

    def test_defaults_and_agents(self) -> None:
        """An agent's own choice is strict: it inherits no fallbacks."""
        config = config_with(
            {
                "plain": AgentEntry(default=True),
                "strict": AgentEntry(model=ModelChoice("q/x")),
                "own": AgentEntry(model=ModelChoice("q/x", ("p/a", "q/x", "p/a"))),
            },
            model=ModelChoice("p/a", ("p/b", "q/c")),
        )
        self.assertEqual(("p/a", "p/b", "q/c"), self.refs(config))
        self.assertEqual(("q/x",), self.refs(config, "strict"))
        self.assertEqual(("q/x", "p/a"), self.refs(config, "own"))
        self.assertEqual(("q/z",), self.refs(config, "own", "q/z"))

    def test_nothing_configured(self) -> None:
        """Then it is the embedded model."""
        self.assertEqual(("local/smollm2-135m",), self.refs(Config()))


class FindCandidatesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.catalog = FixedCatalog(ScriptedProvider())
        self.catalog.unknown.add("gone")

    def test_kept_for_later(self) -> None:
        """What cannot be found stands in its place."""
        first, second, third = find_candidates(self.catalog, ("gone/a", "p/b", "gone/c"))
        assert isinstance(second.model, ResolvedModel)
        self.assertEqual(("gone/a", "b", "gone/c"), (first.ref, second.model.model_id, third.ref))
        for candidate in (first, third):
            self.assertIsInstance(candidate.model, ModelNotFound)

    def test_none_left(self) -> None:
        """Without any the first one's error is raised before anything begins."""
        error = self.assertRaises(ModelNotFound, check_usable, find_candidates(self.catalog, ("gone/a", "gone/b")))
        self.assertIn("gone", error.message)

    def test_missing_key(self) -> None:
        """A key that is not there is such an error, a bug is not."""
        failures: list[Exception] = [ProviderAuthFailed("no key"), ZeroDivisionError()]

        def resolve_ref(ref: str) -> ResolvedModel:
            raise failures[0]

        self.catalog.resolve = resolve_ref  # type: ignore[method-assign]
        self.assertRaises(ProviderAuthFailed, check_usable, find_candidates(self.catalog, ("p/a",)))
        failures.pop(0)
        self.assertRaises(ZeroDivisionError, find_candidates, self.catalog, ("p/a",))
        self.assertEqual("p/a", Candidate("p/a", ProviderAuthFailed("x")).ref)


class ErrorTests(SynchronousTestCase):
    def test_falls_back(self) -> None:
        """Whatever is the server's or our fault, and not the request's."""
        others: list[OpenClawError] = [
            LastingProviderFailure("html"),
            ModelNotFound("not configured"),
            ProviderAuthFailed("401"),
            ProviderFailed("reset"),
            ProviderOverloaded("529"),
            ProviderQuota("402"),
            ProviderRateLimited("429"),
            ProviderModelUnknown("400", status=400),
            ProviderRejected("404", status=404),
            ProviderTimeout("first byte"),
            TransientProviderTimeout("408"),
        ]
        for error in others:
            self.assertTrue(falls_back(error), error)
        final: list[OpenClawError] = [
            ContextTooLong("long"),
            OpenClawError("bug"),
            ProviderRejected("400", status=400),
            ProviderRejected("422", status=422),
            RunTimeout("late"),
        ]
        for error in final:
            self.assertFalse(falls_back(error), error)

    def test_most_telling(self) -> None:
        """The first one that a later request need not meet, else the first one."""
        auth, gone, busy = ProviderAuthFailed("401"), ModelNotFound("gone"), ProviderOverloaded("503")
        failed, rejected = ProviderFailed("reset"), ProviderRejected("400", status=400)
        rows: list[tuple[list[OpenClawError], int]] = [
            ([auth], 0),
            ([busy, auth], 0),
            ([auth, busy], 1),
            ([auth, gone], 0),
            ([gone, auth, failed, busy], 2),
            ([busy, failed], 0),
            ([busy, rejected], 0),
            ([auth, rejected], 0),
        ]
        for errors, place in rows:
            self.assertEqual(place, most_telling(errors), errors)
