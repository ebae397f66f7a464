"""Everything that can go wrong in a way a user can mend.

    AnalyzerError
    ├── ConfigError   a rule, word list, profile, option or setting   exit 2
    ├── InputError    a recording or transcript                       exit 3
    ├── ModelError    a speech model                                  exit 4
    └── StoreError    the run folder or database                      exit 5

Exit 1 is kept for a call below its pass mark (``--fail-below``). Any other exception is a bug of ours. A message names
the culprit, the place and the cure: ``call-0007.wav: 1 channel where 2 were expected; use --mono agent``.
"""

from __future__ import annotations

from collections.abc import Iterable


class AnalyzerError(Exception):
    """A fault with a cure. ``exit_code`` is what a command ends with when it met only this kind."""

    exit_code = 1


class ConfigError(AnalyzerError):
    exit_code = 2


class InputError(AnalyzerError):
    exit_code = 3


class ModelError(AnalyzerError):
    exit_code = 4


class StoreError(AnalyzerError):
    exit_code = 5


class UnavailableError(StoreError):
    """The database is too busy, stopped or out of space. What was being stored may not have been."""


_GRAVEST_FIRST = (2, 4, 5, 3, 1)


def worst_exit_code(codes: Iterable[int]) -> int:
    """The code to end with when several faults were met: 2 > 4 > 5 > 3 > 1 > 0.

    >>> worst_exit_code([3, 1, 4])
    4
    """
    met = set(codes)
    return next((code for code in _GRAVEST_FIRST if code in met), 0)
