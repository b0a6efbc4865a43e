"""The version of the program, here alone: the build, ``--version`` and model files read it."""

__version__ = "0.1.0"
