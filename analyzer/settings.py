"""What whoever runs the desk may set: one TOML file, read when a command starts. Every setting has a default.

[masking]
own_numbers = ["400-820-8820", "021-6100 1000"]   # the company's own: not masked, not bleeped

[login]
idle_minutes = 30            # a login ends after so long without use
longest_hours = 12           # and after so long in any case
failures_per_name = 8        # then the name has to wait
failures_per_address = 60    # a whole floor may share one
failures_within_minutes = 15

[review]
appeal_days = 7              # from sharing a call with its agent
precision_floor = 0.9        # rules surely below it are proposed for trial
floor_decisions = 20         # on at least so many decisions

[retention]                  # off unless days is given
days = 180                   # calls that began earlier are deleted every day
hour = 3                     # of this machine's clock
recordings_only = false      # keep calls, findings and reviews
final_too = false            # also calls whose review is final
reports_too = false          # also their reports in the run folders

[recordings]
prepare = true               # playback copies as soon as a call is assigned, not when first heard
"""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from analyzer.errors import ConfigError


def _digits(number: str) -> str:
    """raises ValueError for what is no telephone number"""
    digits = re.sub(r"[\s()+（）—–-]", "", number)
    if not re.fullmatch(r"[0-9]{3,20}", digits):
        raise ValueError(f"{number!r} is no telephone number; write it as in 400-820-8820")
    return digits


Number = Annotated[str, AfterValidator(_digits)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Masking(_Part):
    """``own_numbers``: digits of the company's own telephone numbers, which stay readable and audible."""

    own_numbers: frozenset[Number] = frozenset()


class Login(_Part):
    idle_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 30
    longest_hours: Annotated[float, Field(gt=0, le=24 * 31)] = 12
    failures_per_name: Annotated[int, Field(ge=1, le=1000)] = 8
    failures_per_address: Annotated[int, Field(ge=1, le=100_000)] = 60
    failures_within_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 15

    @property
    def idle(self) -> timedelta:
        return timedelta(minutes=self.idle_minutes)

    @property
    def longest(self) -> timedelta:
        return timedelta(hours=self.longest_hours)


class Review(_Part):
    """``precision_floor``, ``floor_decisions``: when a rule is proposed for trial (analyzer.review.worth.Floor)."""

    appeal_days: Annotated[float, Field(gt=0, le=365)] = 7
    precision_floor: Annotated[float, Field(gt=0, le=1)] = 0.9
    floor_decisions: Annotated[int, Field(ge=1, le=100_000)] = 20

    @property
    def appeal_within(self) -> timedelta:
        return timedelta(days=self.appeal_days)


class Retention(_Part):
    """``days`` None: nothing is deleted by itself. ``hour``: local, 0 to 23."""

    days: Annotated[int | None, Field(ge=1, le=36_500)] = None
    hour: Annotated[int, Field(ge=0, le=23)] = 3
    recordings_only: bool = False
    final_too: bool = False
    reports_too: bool = False


class Recordings(_Part):
    """``prepare``: make peaks and the playback copy of a call once it is assigned to somebody."""

    prepare: bool = True


class Settings(_Part):
    masking: Masking = Masking()
    login: Login = Login()
    review: Review = Review()
    retention: Retention = Retention()
    recordings: Recordings = Recordings()


def read_settings(path: Path) -> Settings:
    """raises ConfigError that names every setting that is wrong"""
    try:
        return Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; check --settings") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigError(f"{path}: {faults}; docs/desk.md lists the settings") from None
