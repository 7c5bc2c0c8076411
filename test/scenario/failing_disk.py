"""
A gateway whose disk fails when a file says so: C{python -m test.scenario.failing_disk <file> gateway run}.

The file holds C{full}, and no page can be added to the store; or C{readonly}, and nothing can be written.
"""

import sys
from pathlib import Path

from openclaw.cli.main import main
from openclaw.store.group import Group, Outcome


def use_faults_of(path: Path) -> None:
    """Have every group of jobs look at the file first."""
    run = Group.run

    def run_on_failing_disk(group: Group) -> list[Outcome]:
        fault = path.read_text()
        # The connection is nobody's business but here, where the disk behind it is to fail.
        connection = group._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages if fault == 'full' else 1 << 30}")
        connection.execute(f"PRAGMA query_only = {fault == 'readonly'}")
        return run(group)

    Group.run = run_on_failing_disk  # type: ignore[method-assign]


if __name__ == "__main__":
    use_faults_of(Path(sys.argv.pop(1)))
    sys.exit(main())
