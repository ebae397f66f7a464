"""What is sent to the desk, as the types that refuse what must not come in: 422 ``invalid`` before any code runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

# Any zone away from it is a moment still; as analyzer.review.sampling.Day.
Moment = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 2, tzinfo=UTC), le=datetime(9000, 1, 1, tzinfo=UTC))]


class Sent(BaseModel):
    """A body or a query: nothing in it that the route does not know, and no text that one database keeps and another
    refuses."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _can_be_kept(cls, given: Any) -> Any:
        waiting = [given]
        while waiting:  # not by recursion: others say how deep it is
            one = waiting.pop()
            if isinstance(one, str) and not is_storable(one):
                raise ValueError("含有无法保存的字符")
            if isinstance(one, dict):
                waiting += [*one.keys(), *one.values()]
            elif isinstance(one, list):
                waiting += one
        return given


def is_storable(text: str) -> bool:
    """Whether every database takes it: PostgreSQL knows no NUL, and a lone surrogate has no UTF-8."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
