"""The command line: options, streams and exit codes. One file for each command."""

import signal


def main() -> None:
    """Run the program with the arguments of the shell, and exit."""
    # Ctrl-C while the program is being loaded just ends it: an exception then is a traceback.
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from catclf.cli.app import main as run

    if usual is signal.default_int_handler:
        signal.signal(signal.SIGINT, usual)
    run()


__all__ = ["main"]
