"""The table of docs/desk.md that says who may do what, read off the server's routes.

python -m tests.access_table     writes it anew; look at what changed before you commit it
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute

from analyzer.desk.access import rule_of
from analyzer.serve.app import create_app
from tests.desk_stage import TOKEN, Stage, open_stage
from tests.serving import a_hub

DOC = Path(__file__).parent.parent / "docs" / "desk.md"
BEGIN, END = "<!-- routes: python -m tests.access_table -->\n", "<!-- end of routes -->\n"
ROLES = ("agent", "reviewer", "lead", "admin", "service")


@dataclass(frozen=True, order=True)
class Access:
    """``method``: WS for a WebSocket. ``roles`` empty: anyone."""

    path: str
    method: str
    roles: frozenset[str]

    @property
    def is_public(self) -> bool:
        return not self.roles


def routes_of(app: FastAPI) -> list[Access]:
    found = []
    for route in app.routes:
        if isinstance(route, APIRoute | APIWebSocketRoute):
            rule = rule_of(route)
            assert rule is not None, route.path
            methods = route.methods or () if isinstance(route, APIRoute) else ("WS",)
            found += [Access(route.path, method, rule.roles) for method in methods]
    return sorted(found, key=lambda one: (one.path, one.method))


@contextmanager
def whole_server(folder: Path) -> Iterator[Stage]:
    """The desk and the live calls in one server, as ``analyzer serve`` runs them."""
    with open_stage(folder) as stage, a_hub(folder / "live") as hub:
        stage.app = create_app(hub, token=TOKEN, review=stage.desk)
        yield stage


def table(app: FastAPI) -> str:
    lines = [f"| address | | {' | '.join(ROLES)} |", f"|---|---|{'---|' * len(ROLES)}"]
    for one in routes_of(app):
        marks = ["●" if one.is_public or role in one.roles else "" for role in ROLES]
        method = f"{one.method}, no login" if one.is_public else one.method
        lines.append(f"| `{one.path}` | {method} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"


def documented() -> str:
    return DOC.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, whole_server(Path(folder)) as stage:
        text = DOC.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        DOC.write_text(f"{before}{BEGIN}{table(stage.app)}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
