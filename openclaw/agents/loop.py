"""
The loop of a run: ask the model until it has said what the client is to be told.

There are no tools of the agent's own yet, so the first answer is the last: calls in it are the client's to make.
"""

from __future__ import annotations

from openclaw.agents.answer import RunAnswer
from openclaw.agents.asking import Asking
from openclaw.agents.run_context import RunContext


async def carry_out(run: RunContext, asking: Asking, answer: RunAnswer) -> None:
    """
    Have the agent answer; C{answer} is complete when this returns.

    Cancelling it aborts the call that is under way; what was said until then is in C{answer}.

    @raise openclaw.errors.OpenClawError: as L{Asking.answer}.
    """
    await asking.answer(run, answer)
