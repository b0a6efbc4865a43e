"""The command line: options, streams and exit codes. One file for each command."""

import sys


def main() -> None:
    """Run the program with the arguments of the shell, and exit."""
    try:
        from catclf.cli.app import main as run
    except KeyboardInterrupt:  # Ctrl-C while the program is still being loaded
        sys.exit(130)
    run()


__all__ = ["main"]
