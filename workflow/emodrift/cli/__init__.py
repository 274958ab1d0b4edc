"""The command `emodrift`."""

from emodrift.cli.app import main

__all__ = ["main"]
