"""``python -m tests.score_with_fakes ARGUMENTS``: the real command line, but recogniser and detector need no model.

For tests that kill or interrupt a whole process.
"""

from __future__ import annotations

from analyzer import cli, pipeline
from tests.fake_speech import FakeCallDetector, FakeRecogniser

DELAY_S = 0.02  # per batch, so that there is something to interrupt


def main() -> None:
    pipeline.CallDetector = FakeCallDetector  # type: ignore[misc,assignment]
    pipeline.BACKLOG_MS = 4_000
    cli.load_recogniser = lambda *_, **__: FakeRecogniser(delay_s=DELAY_S)  # type: ignore[assignment,return-value]
    cli.main()


if __name__ == "__main__":
    main()
