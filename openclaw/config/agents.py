"""The section C{agents}: who answers, and with which model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

import attrs

from openclaw.config.checks import MODEL_REF, Between, Text
from openclaw.config.gateway import Problem
from openclaw.ids import normalise_agent_id

IMPLICIT_AGENT = "main"
"""The agent of a configuration that names none."""

Ref = Annotated[str, MODEL_REF]
"""C{provider/model}."""

Seconds = Annotated[float, Between(0, 31_536_000)]
"""Seconds; 0 means without limit."""


@attrs.frozen
class ModelChoice:
    """
    A model and what to try when it fails.

    @ivar primary: the first choice, C{provider/model}.
    @ivar fallbacks: what is tried when the first choice fails, in this order.
    """

    shorthand: ClassVar[str] = "primary"

    primary: Ref
    fallbacks: tuple[Ref, ...] = ()

    @property
    def refs(self) -> tuple[str, ...]:
        """All models, the first choice first."""
        return (self.primary, *self.fallbacks)


@attrs.frozen
class SystemAgent:
    """
    C{agents.defaults.systemAgent}.

    @ivar agent_id: which of several agents answers requests that name none.
    """

    agent_id: Text


@attrs.frozen
class AgentDefaults:
    """
    C{agents.defaults}.

    @ivar model: model of the agents that have none of their own: C{provider/model}, or an object with C{primary} and
        C{fallbacks}; without it the embedded one.
    @ivar max_concurrent: runs at a time, of all agents together.
    @ivar max_queued: runs that may wait.
    @ivar timeout_seconds: longest run, seconds; 0 means no limit.
    @ivar workspace: folder of the agents' files.
    """

    model: ModelChoice | None = None
    max_concurrent: Annotated[int, Between(1, 1_000_000)] = 256
    max_queued: Annotated[int, Between(0, 1_000_000)] = 1000
    timeout_seconds: Seconds = 172_800.0
    system_agent: SystemAgent | None = None
    workspace: Text | None = None


@attrs.frozen
class AgentEntry:
    """
    C{agents.entries.<id>}.

    @ivar name: what people see in place of the id.
    @ivar description: what the agent is for.
    @ivar model: model of the agent, in place of the defaults' as a whole, fallbacks included.
    @ivar timeout_seconds: longest run, seconds; 0 means no limit; without it that of the defaults.
    @ivar workspace: folder of the agent's files.
    @ivar default: whether it answers requests that name no agent; the older way to say it.
    """

    name: str | None = None
    description: str | None = None
    model: ModelChoice | None = None
    timeout_seconds: Seconds | None = None
    workspace: Text | None = None
    default: bool = False


@attrs.frozen
class ListedAgent(AgentEntry):
    """
    C{agents.list[]}, the older form of the roster; becomes an L{AgentEntry}.

    @ivar id: the agent's id.
    """

    id: str = attrs.field(kw_only=True)

    def entry(self) -> AgentEntry:
        """The same without its id."""
        return AgentEntry(**{field.name: getattr(self, field.name) for field in attrs.fields(AgentEntry)})


@attrs.frozen
class AgentsConfig:
    """
    C{agents}.

    @ivar ownership: accepted and not used; there is one owner.
    @ivar entries: the agents by normalised id, in the order of the file; empty if none is named.
    @ivar listed: older form of C{agents.entries}, in which what stands here is found.
    """

    ownership: Literal["explicit"] | None = None
    defaults: AgentDefaults = attrs.field(factory=AgentDefaults)
    entries: Mapping[str, AgentEntry] = attrs.field(factory=dict)
    listed: tuple[ListedAgent, ...] = attrs.field(default=(), metadata={"disk": "list"})

    def settled(self, problem: Problem) -> Self:
        """Bring both forms of the roster into one, its ids into one spelling."""
        entries: dict[str, AgentEntry] = {}
        where: dict[str, str] = {}
        for path, written, entry in self._roster():
            agent_id = normalise_agent_id(written)
            if agent_id is None:
                problem(path, "not an agent id: 1 to 64 letters, digits, _ and -, the first a letter or digit")
            elif agent_id in entries:
                problem(path, f'the agent "{agent_id}" is already named by agents.{where[agent_id]}')
            else:
                entries[agent_id] = entry
                where[agent_id] = ".".join(path)
        marked = [agent_id for agent_id, entry in entries.items() if entry.default]
        if len(marked) > 1:
            problem((), f"only one agent can have default: true; these have it: {', '.join(marked)}")
        system = self.defaults.system_agent
        if system is not None and normalise_agent_id(system.agent_id) not in (entries or (IMPLICIT_AGENT,)):
            problem(("defaults", "systemAgent", "agentId"), f'there is no agent "{system.agent_id}"')
        return attrs.evolve(self, entries=entries, listed=())

    def _roster(self) -> Iterator[tuple[tuple[str, ...], str, AgentEntry]]:
        for written, entry in self.entries.items():
            yield ("entries", written), written, entry
        for index, listed in enumerate(self.listed):
            yield ("list", str(index), "id"), listed.id, listed.entry()

    @property
    def agent_ids(self) -> tuple[str, ...]:
        """The ids of all agents; C{main} alone where the configuration names none."""
        return tuple(self.entries) or (IMPLICIT_AGENT,)

    @property
    def default_agent_id(self) -> str | None:
        """
        The agent that answers requests which name none; C{None} if the configuration leaves that open.

        No agent configured: C{main}.  One: that one.  Several: C{agents.defaults.systemAgent.agentId}, else the one
        with C{default: true}.
        """
        ids = self.agent_ids
        if len(ids) == 1:
            return ids[0]
        if self.defaults.system_agent is not None:
            return normalise_agent_id(self.defaults.system_agent.agent_id)
        return next((agent_id for agent_id, entry in self.entries.items() if entry.default), None)

    def model_for(self, agent_id: str) -> ModelChoice | None:
        """
        The model of an agent: its own choice as a whole, else the defaults'.

        @param agent_id: normalised.
        @return: C{None} where neither says anything; then it is the embedded model.
        """
        entry = self.entries.get(agent_id)
        return entry.model if entry is not None and entry.model is not None else self.defaults.model

    def timeout_for(self, agent_id: str) -> float | None:
        """The longest run of an agent in seconds, or C{None} if it has no limit."""
        entry = self.entries.get(agent_id)
        own = entry.timeout_seconds if entry is not None else None
        seconds = self.defaults.timeout_seconds if own is None else own
        return seconds or None
