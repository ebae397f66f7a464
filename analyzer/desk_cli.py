"""``analyzer db``, ``user`` and ``audit``: the review desk's store from the command line. Parses, calls and shows."""

from __future__ import annotations

import typer

desk_app = typer.Typer()
