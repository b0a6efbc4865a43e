"""The version, here alone: the build, the command line and model files read it."""

__version__ = "0.1.0"
