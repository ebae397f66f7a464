"""A judge that some calls are the end of, for the processes of ``analyzer.rescore``; light, for they import it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from analyzer.errors import InputError
from analyzer.rescore.workers import Batch, LeftOut, Task

POISON = "c#7"


def judge(tasks: Sequence[Task | InputError]) -> Batch:
    """Judges nothing."""
    if any(isinstance(task, Task) and task.place.name == POISON for task in tasks):
        os._exit(9)
    return Batch(tuple(LeftOut() for _ in tasks))
