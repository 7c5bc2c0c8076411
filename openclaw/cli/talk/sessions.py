"""C{openclaw sessions}: the sessions of a running gateway, page by page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs
import click

from openclaw.cli.client.calls import run_connected
from openclaw.cli.client.remote import RemoteOptions, find_remote, remote_options
from openclaw.cli.client.told import number, part
from openclaw.cli.client.told import rows as rows_of
from openclaw.cli.options import gathered, timeout_option, together
from openclaw.cli.output import State, json_option, print_json, say
from openclaw.cli.tables import age, counted, print_table

if TYPE_CHECKING:
    from openclaw.cli.client.connection import GatewayConnection

PAGE_SIZE = 1000
"""Most sessions that are asked for at once."""


def limit_of(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """Read C{--limit}: the number, or C{None} for C{all}; a C{click.BadParameter} if it is neither."""
    text = value.strip().lower()
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1):
        raise click.BadParameter('expected a number of at least 1, or "all"', ctx, param)
    return int(text)


@attrs.frozen
class SessionFilter:
    """
    Which sessions are listed.

    @ivar active_minutes: those that were used since then only.
    @ivar limit: how many at most; C{None} for all.
    """

    agent_id: str | None
    all_agents: bool
    active_minutes: int | None
    limit: int | None


_list_options = together(
    json_option,
    timeout_option(),
    remote_options,
    click.option("--limit", default="100", show_default=True, callback=limit_of, help='How many, or "all".'),
    click.option(
        "--active", "active_minutes", type=click.IntRange(1, 5_256_000), metavar="MINUTES", help="Used since then only."
    ),
    click.option("--all-agents", is_flag=True, help="Sessions of all agents, which is the default."),
    click.option("--agent", "agent_id", metavar="ID", help="Sessions of this agent only."),
    gathered("selection", SessionFilter),
)
"""The options of the listing."""


@click.group(invoke_without_command=True)
@_list_options
@click.pass_context
def sessions(ctx: click.Context, /, **options: Any) -> int:
    """List the sessions of a running gateway, the newest first."""
    ctx.ensure_object(State)
    if ctx.invoked_subcommand is None:
        return _list(ctx.obj, **options)
    # what stands before "list" counts as if it stood behind
    given = {name: value for name, value in ctx.params.items() if _is_given(ctx, name)}
    if "limit" in given:
        given["limit"] = str(given["limit"] or "all")
    ctx.default_map = {ctx.invoked_subcommand: given}
    return 0


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


@sessions.command("list")
@_list_options
@click.pass_obj
def list_sessions(state: State, /, **options: Any) -> int:
    """List the sessions of a running gateway, the newest first."""
    return _list(state, **options)


def _list(state: State, *, selection: SessionFilter, where: RemoteOptions, timeout_s: float) -> int:
    if selection.agent_id is not None and selection.all_agents:
        raise click.UsageError("--agent and --all-agents exclude each other")
    asked = {"agentId": selection.agent_id, "activeMinutes": selection.active_minutes}
    params = {name: value for name, value in asked.items() if value is not None}

    async def ask(connection: GatewayConnection) -> dict[str, Any]:
        return await fetch_all(connection, params, selection.limit, timeout_s)

    listing = run_connected(find_remote(state, where), ask, timeout_s=timeout_s)
    listing["activeMinutes"] = selection.active_minutes
    if state.as_json:
        print_json(listing)
    else:
        _print(listing)
    return 0


async def fetch_all(
    connection: GatewayConnection, params: dict[str, Any], limit: int | None, timeout_s: float
) -> dict[str, Any]:
    """
    All sessions, or so many of them, in pages of L{PAGE_SIZE}.

    @param limit: how many at most; C{None} for all.
    @param timeout_s: for each page, in seconds.
    @return: as the original's C{sessions --json}.
    """
    rows: list[dict[str, Any]] = []
    known: set[str] = set()
    path, total, has_more = None, 0, True
    while has_more and (limit is None or len(rows) < limit):
        size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(rows))
        asked = {**params, "limit": size, "offset": len(known)}
        page = part(await connection.call("sessions.list", asked, timeout_s=timeout_s))
        path, total = page.get("path", path), int(number(page.get("totalCount")) or 0)
        # a session that is used meanwhile moves to the front and pushes another into the next page
        new = [row for row in rows_of(page, "sessions") if isinstance(row.get("key"), str) and row["key"] not in known]
        rows += new
        known |= {str(row["key"]) for row in new}
        has_more = bool(page.get("hasMore")) and bool(new)
    now_ms = time.time() * 1000
    for row in rows:
        updated_ms = number(row.get("updatedAt"))
        if updated_ms is not None:
            row["ageMs"] = max(round(now_ms - updated_ms), 0)
    return {
        **({"path": path} if path is not None else {}),
        "count": len(rows),
        "totalCount": max(total, len(rows)),
        "limitApplied": limit,
        "hasMore": has_more,
        "sessions": rows,
    }


def _print(listing: dict[str, Any]) -> None:
    rows = listing["sessions"]
    if not rows:
        say("no sessions yet" if listing["activeMinutes"] is None else "no session was used since then")
        return
    print_table(
        ("Session", "Last used", "Status", "Model", "Tokens"),
        [
            (
                row.get("key"),
                age(number(row.get("ageMs"))),
                row.get("status") or "",
                "/".join(str(name) for name in (row.get("modelProvider"), row.get("model")) if name),
                _tokens(row),
            )
            for row in rows
        ],
        right=(4,),
    )
    if listing["hasMore"]:
        of_all = counted(listing["totalCount"], "session")
        say(f"{listing['count']} of {of_all}; show more with --limit N or --limit all")


def _tokens(row: dict[str, Any]) -> str:
    total, window = number(row.get("totalTokens")), number(row.get("contextTokens"))
    if total is None:
        return ""
    return f"{total:,.0f}" + (f" / {window:,.0f}" if window else "")
