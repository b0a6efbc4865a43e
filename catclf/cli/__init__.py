"""The command line: options, streams and exit codes. One file for each command."""

import gc
import os
import signal

# Modules, and the objects that NumPy and Typer set up, live as long as the process. Looking for
# garbage among them takes 10 ms of a short run, and once more as long when the process ends.
LOADING_THRESHOLD, THRESHOLD = 1_000_000, 50_000  # objects; Python's default is 700


def main() -> None:
    """Run the program with the arguments of the shell, and exit."""
    gc.set_threshold(LOADING_THRESHOLD)
    # OpenBLAS starts its threads when it is loaded, which takes 10 ms; maths.threads asks for
    # threads where they help.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Ctrl-C while the program is being loaded just ends it: an exception then is a traceback.
    default = signal.getsignal(signal.SIGINT)
    if default is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from catclf.cli.app import main as run

    if default is signal.default_int_handler:
        signal.signal(signal.SIGINT, default)
    try:
        run()
    finally:
        gc.freeze()


def loaded() -> None:
    """Look for garbage among what is made from now on; to be called before long work."""
    gc.freeze()
    gc.set_threshold(THRESHOLD)


# Python keeps the frames of calls in pieces of 16 KB, and maps memory for the next piece whenever a
# call crosses the end of one: 900 times in a short run where a loop lies there. A frame of 64 KB
# makes the piece that all others lie in a large one.
main.__code__ = main.__code__.replace(co_stacksize=8192)

__all__ = ["loaded", "main"]
