"""C{openclaw doctor}: look for what is wrong, and say what to do about it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import click

from openclaw.cli.doctor.findings import SEVERITIES, DoctorCheck, Finding, Surroundings
from openclaw.cli.output import State, json_option, print_json
from openclaw.cli.tables import counted
from openclaw.errors import ConfigError, OpenClawError

_TOKEN_CHECK = "core/doctor/gateway-auth"


@click.command()
@click.option("--lint", is_flag=True, help="Exit 1 if anything is found, 2 if the checks cannot run.")
@click.option("--fix", is_flag=True, help="Repair file modes and missing folders, make a token where there is none.")
@click.option("--generate-gateway-token", "make_token", is_flag=True, help="Make a token if there is no credential.")
@click.option("--only", multiple=True, metavar="ID", help="Run this check alone; may be given several times.")
@click.option("--skip", multiple=True, metavar="ID", help="Leave this check out.")
@click.option(
    "--severity-min",
    type=click.Choice(["info", "warning", "error"]),
    help="Least severity that is told; --lint counts from warning on unless told otherwise.",
)
@click.option("--non-interactive", is_flag=True, help="Ask nothing; this command never asks.")
@click.option("--yes", "--deep", "_ignored", is_flag=True, hidden=True)
@json_option
@click.pass_obj
def doctor(
    state: State,
    /,
    lint: bool,
    fix: bool,
    make_token: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    severity_min: str | None,
    **_: Any,
) -> int:
    """Look for what is wrong; every finding says what to do.

    Ends with 0 whatever is found, unless --lint is given; with 1 if a repair fails.
    """
    try:
        checks, skipped = chosen(only, skip)
        at = surroundings(state)
        repairing = [check for check in checks if fix or (make_token and check.check_id == _TOKEN_CHECK)]
        repaired, troubles = _repair(at, repairing)
        if repaired:
            at = surroundings(state)
        findings, not_run = examine(at, checks, severity_min or "info")
        findings = [(check_id, _for(state, one)) for check_id, one in findings]
    except OpenClawError as error:
        if not lint:
            raise
        click.echo(f"openclaw: {state.advice(error.message)}", err=True)
        return 2
    counted = [one for _, one in findings if _rank(one.severity) >= _rank(severity_min or "warning")]
    if state.as_json:
        print_json(
            {
                "schemaVersion": 1,
                "ok": not counted,
                "checksRun": len(checks) - not_run,
                "checksSkipped": skipped + not_run,
                "findings": [_row(check_id, one) for check_id, one in findings],
                **({"repaired": repaired, "notRepaired": troubles} if fix or make_token else {}),
            }
        )
    else:
        skipped_as = (
            "could not run without a configuration" if at.loaded is None else "are for a gateway of this machine"
        )
        _tell(findings, repaired, len(checks) - not_run, f", {not_run} {skipped_as}" if not_run else "")
    for trouble in troubles:
        click.echo(f"openclaw: {state.advice(trouble)}", err=True)
    return 1 if troubles or (lint and counted) else 0


def chosen(only: Sequence[str], skip: Sequence[str]) -> tuple[list[DoctorCheck], int]:
    """The checks to run, and how many are left out; an L{OpenClawError} if there is no check of a name."""
    from openclaw.cli.doctor.checks import CHECKS

    known = {check.check_id: check for check in CHECKS}
    short = {check_id.rpartition("/")[2]: check_id for check_id in known}
    wanted = [short.get(name, name) for name in only]
    unwanted = {short.get(name, name) for name in skip}
    for name in (*wanted, *unwanted):
        if name not in known:
            raise OpenClawError(f"there is no check {name[:80]!r}; there are: {', '.join(short)}")
    checks = [check for check in CHECKS if (not only or check.check_id in wanted) and check.check_id not in unwanted]
    return checks, len(CHECKS) - len(checks)


def surroundings(state: State) -> Surroundings:
    """
    What the checks look at; a configuration that cannot be used is a finding, and no error.

    @raise openclaw.errors.StartError: if not even the places are known.
    """
    from openclaw.config.load import read_document

    paths = state.paths
    try:
        loaded = state.load()
        return Surroundings(paths, os.environ, read_document(paths.config_path), loaded, None, state.profile)
    except ConfigError as error:
        return Surroundings(paths, os.environ, None, None, error, state.profile)


def examine(
    at: Surroundings, checks: Sequence[DoctorCheck], severity_min: str
) -> tuple[list[tuple[str, Finding]], int]:
    """Run checks; give what they found, each with the check's id, and how many could not run."""
    findings: list[tuple[str, Finding]] = []
    not_run = 0
    for check in checks:
        if not check.applies(at):
            not_run += 1
            continue
        for found in _looked(check, at):
            if _rank(found.severity) >= _rank(severity_min):
                findings.append((check.check_id, found))
    return findings, not_run


def _looked(check: DoctorCheck, at: Surroundings) -> Iterator[Finding]:
    """What a check finds, or that it cannot look."""
    try:
        yield from check.look(at)
    except OSError as error:
        message = f"{error.filename or at.paths.state_dir} cannot be looked at: {error.strerror or error}"
        owner = f"sudo chown -R $(id -un) {shlex.quote(str(at.paths.state_dir))}"
        yield Finding("error", message, f"run this as the user of the gateway, or: {owner}")


def _for(state: State, finding: Finding) -> Finding:
    """A finding whose commands act on the installation that was looked at."""
    return attrs.evolve(finding, message=state.advice(finding.message), fix_hint=state.advice(finding.fix_hint))


def _repair(at: Surroundings, checks: Sequence[DoctorCheck]) -> tuple[list[str], list[str]]:
    """Do what the checks can do; give what was done, and what could not be."""
    done: list[str] = []
    troubles: list[str] = []
    for check in checks:
        if check.repair is None or not check.applies(at):
            continue
        try:
            for sentence in check.repair(at):
                done.append(sentence)  # one by one: what was done before a failure is told
        except OpenClawError as error:
            troubles.append(f"{check.check_id}: {error.message}")
        except OSError as error:
            troubles.append(f"{check.check_id}: {error.filename or 'a file'}: {error.strerror}")
    return done, troubles


def _rank(severity: str) -> int:
    return [str(one) for one in SEVERITIES].index(severity)


def _row(check_id: str, finding: Finding) -> dict[str, Any]:
    row = {
        "checkId": check_id,
        "severity": finding.severity,
        "message": finding.message,
        "path": finding.path,
        "fixHint": finding.fix_hint,
    }
    return {name: value for name, value in row.items() if value is not None}


def _tell(findings: Sequence[tuple[str, Finding]], repaired: Sequence[str], run: int, left_out: str) -> None:
    for sentence in repaired:
        click.echo(f"repaired: {sentence}")
    for check_id, finding in findings:
        short = check_id.rpartition("/")[2]
        where = f"{finding.path}: " if finding.path and finding.path not in finding.message else ""
        click.echo(f"{finding.severity:<8}{where}{finding.message}  [{short}]\n        fix: {finding.fix_hint}")
    count = counted(len(findings), "finding") if findings else "nothing found"
    click.echo(f"{counted(run, 'check')}{left_out}: {count}")
