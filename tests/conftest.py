"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# Whether an example took 200 ms says more of the machine than of the code; slow tests have pytest's own timeout.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
