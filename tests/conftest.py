"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from analyzer import memory
from tests.databases import new_database, postgres_server, store

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["new_database", "postgres_server", "store"]  # fixtures

CHROMIUM = Path("/usr/bin/chromium")

# Whether an example took 200 ms says more of the machine than of the code; slow tests have pytest's own timeout.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture(scope="session", autouse=True)
def memory_as_it_is() -> Iterator[None]:
    """Commands that run in this process leave its C library alone: what is set there cannot be undone, and a process
    that runs all tests would keep the most that any of them needed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(memory, "settle", lambda settings: None)
        yield


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """One for all modules: a process can run only one at a time."""
    if not CHROMIUM.exists():
        reason = f"no browser at {CHROMIUM}: apt-get install chromium fonts-noto-cjk"
        if request.config.option.markexpr == "system":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()
