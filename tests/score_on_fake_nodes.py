"""``python -m tests.score_on_fake_nodes DELAY_S ARGUMENTS``: the real command line; no node needs a model.

DELAY_S is the time a batch takes, so that there is something to break; below zero every process has a model of its own.
"""

from __future__ import annotations

import sys
from functools import partial

from analyzer import cli
from tests import bucket
from tests.fake_node import load_fake


def main() -> None:
    bucket.register()
    delay_s = float(sys.argv.pop(1))
    cli.load_recogniser = partial(load_fake, delay_s)  # type: ignore[assignment]
    cli.main()


if __name__ == "__main__":
    main()
