"""Templates of systemd units, filled in by L{openclaw.cli.unit_file}."""
