"""C{python -m openclaw}: the command line, where no script of its own is on the path."""

from openclaw.cli.main import main

if __name__ == "__main__":
    main()
