"""The command line: options, streams and exit codes. One file for each command."""

from catclf.cli.app import main

__all__ = ["main"]
