"""What people decided, as cases of a rule: in the notation of rule files, ready to be taken over by its author."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

BEFORE, AFTER = 4, 2  # turns around the one that matters: enough to see what was said in answer to what
_ROLES = {"agent": "坐席", "customer": "客户", "system": "系统"}


@dataclass(frozen=True, slots=True)
class Line:
    """A turn of the call; the text masked."""

    number: int
    role: str
    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """What the rule must find: code points of a turn's text."""

    turn: int
    char_start: int
    char_end: int


def around(lines: Sequence[Line], turn: int | None, start_ms: int) -> list[Line]:
    """The turns that show a finding; of something missing without a turn, those around the time it was due."""
    if not lines:
        return []
    places = [index for index, line in enumerate(lines) if line.number == turn]
    place = places[0] if places else min(range(len(lines)), key=lambda index: abs(lines[index].start_ms - start_ms))
    return list(lines[max(0, place - BEFORE) : place + AFTER + 1])


def case_yaml(name: str, direction: str, lines: Sequence[Line], mark: Mark | None = None) -> str:
    """One entry of a rule file's ``cases``. Without a mark the rule must stay silent.

    >>> print(case_yaml("申诉成立", "inbound", [Line(3, "agent", 12_400, 14_000, "您稍等")]), end="")
    - name: "申诉成立"
      direction: inbound
      call: |
        00:12.400-00:14.000 坐席: 您稍等
    """
    head = [f"- name: {json.dumps(name, ensure_ascii=False)}"]
    if direction != "unknown":
        head.append(f"  direction: {direction}")
    return "\n".join([*head, "  call: |", *(f"    {_written(line, mark)}" for line in lines), ""])


def _written(line: Line, mark: Mark | None) -> str:
    text = line.text
    if mark is not None and mark.turn == line.number:
        text = f"{text[: mark.char_start]}[[{text[mark.char_start : mark.char_end]}]]{text[mark.char_end :]}"
    plain = " ".join(text.split())  # a line of the notation is one line
    return f"{_clock(line.start_ms)}-{_clock(line.end_ms)} {_ROLES.get(line.role, '未知')}: {plain}"


def _clock(ms: int) -> str:
    minutes, rest = divmod(ms, 60_000)
    return f"{minutes:02d}:{rest / 1000:06.3f}"
