"""``python -m catclf``."""

from catclf.cli import main  # noqa: TID251

main()
