"""Who may do what with live calls. Whoever has the server's token may do everything, as the ``service``."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from analyzer.desk.access import Principal, allow, allow_anyone

PEOPLE = ("agent", "reviewer", "lead", "admin")

Anyone = Annotated[Principal, Depends(allow_anyone())]
Known = Annotated[Principal, Depends(allow("service", *PEOPLE))]
Supervisor = Annotated[Principal, Depends(allow("service", "reviewer", "lead", "admin"))]
OnOverlay = Annotated[Principal, Depends(allow("service", "agent"))]
Service = Annotated[Principal, Depends(allow("service"))]


def is_theirs(who: Principal, agent_id: object) -> bool:
    """Whether somebody may follow a call of this agent: agents only their own."""
    return who.role != "agent" or (who.agent_id is not None and str(agent_id) == who.agent_id)
