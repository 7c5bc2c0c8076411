"""What is decided about a run before it begins: agent, session, models, prompt, limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from openclaw.agents.models import Candidate, candidate_refs, find_candidates
from openclaw.agents.prompt import system_prompt
from openclaw.agents.request import RunRequest
from openclaw.agents.resolve import Target, resolve
from openclaw.config.schema import Config
from openclaw.errors import ModelNotFound
from openclaw.events import RunInfo, RunOutcome
from openclaw.interfaces import Caller
from openclaw.models import ModelCatalog, ResolvedModel
from openclaw.records import KeptRun, KeyClaim, KeyEnd, RunRecord
from openclaw.sessions.turns import SentTurn


class Keeping(Protocol):
    """
    The key under which a run's answer is kept.

    @ivar claim: taken together with the run's turn; C{None} if the run holds the key already.
    @ivar is_stored: set when what L{end} gave is on disk.
    """

    claim: KeyClaim | None
    is_stored: bool

    def end(self, outcome: RunOutcome, run: KeptRun) -> KeyEnd:
        """What becomes of the key, now that the run has ended so; stored together with that."""


@attrs.frozen
class Repetition:
    """
    What is known of other runs of the same request, earlier ones and those to come.

    @ivar retry_of: id of an earlier run of the same request that was cancelled or failed and has the user's turn in
        the transcript; that turn is answered, and not stored again.  L{openclaw.sessions.placement.UNKNOWN_RUN} where
        the run is not known any more.
    @ivar keeping: where the answer is kept; only for a session that is stored.
    """

    retry_of: str | None = None
    keeping: Keeping | None = None


@attrs.frozen
class RunPlan:
    """
    A run that can be started: all of it comes from one configuration, so that an edit meanwhile does not concern it.

    @ivar candidates: the models that may answer, the first choice first; why one cannot be used counts only when its
        turn comes.
    @ivar instructions: the agent's own part of the system message.
    @ivar timeout_s: seconds that the run may take once it is placed; C{None} for no bound.
    @ivar session_key: the session, in full; that of an unstored one, too.
    """

    caller: Caller
    request: RunRequest
    target: Target
    candidates: Sequence[Candidate]
    instructions: str
    timeout_s: float | None
    repetition: Repetition = Repetition()
    session_key: str = attrs.field(init=False)

    @session_key.default
    def _spell_key(self) -> str:
        return str(self.target.session_key)

    @property
    def is_stored(self) -> bool:
        """Whether turn and answer are stored: the client can come back to the session, or wants it kept."""
        return self.target.is_stable or self.request.options.keep

    @property
    def share(self) -> str:
        """What it shares its permits at a model server with: its session, or its caller's runs that have none."""
        return self.session_key if self.is_stored else f"caller:{self.caller.name}"

    @property
    def sent(self) -> SentTurn:
        """What the request has for its session."""
        key = self.session_key if self.is_stored else None
        retry_of, keeping = self.repetition.retry_of, self.repetition.keeping
        claim = keeping.claim if keeping is not None else None
        return SentTurn(
            key, self.request.asked.messages, self.target.key_source, retry_of, claim, self.request.options.manner
        )

    @property
    def info(self) -> RunInfo:
        """How the bus names the run."""
        request, target = self.request, self.target
        return RunInfo(
            request.run_id, request.shown_id, target.agent_id, self.session_key, target.model_ref, request.channel
        )

    def record(self, started_at_ms: int) -> RunRecord:
        """What the store keeps of the run while it is under way."""
        target = self.target
        return RunRecord(
            self.request.run_id, target.agent_id, self.session_key, target.model_ref, "running", started_at_ms
        )

    @property
    def is_usable(self) -> bool:
        """Whether any of its models can be used."""
        return any(isinstance(candidate.model, ResolvedModel) for candidate in self.candidates)


def make_plan(config: Config, catalog: ModelCatalog, caller: Caller, request: RunRequest) -> RunPlan:
    """Decide who serves a request, and how; raises what L{resolve} does."""
    target = resolve(config, request.selection, request.run_id)
    overridden = bool((request.selection.model_override or "").strip())
    candidates = find_candidates(catalog, candidate_refs(config, target, overridden=overridden))
    first = candidates[0].model
    if overridden and isinstance(first, ModelNotFound):
        first.param = "x-openclaw-model"
    entry = config.agents.entries.get(target.agent_id)
    instructions = system_prompt(target.agent_id, entry.name if entry is not None else None, request.channel)
    # Either may be missing.
    timeouts_s = (config.agents.timeout_for(target.agent_id), request.options.timeout_s)
    timeout_s = min((each_s for each_s in timeouts_s if each_s is not None), default=None)
    return RunPlan(caller, request, target, candidates, instructions, timeout_s)
