"""What cannot be served, said so that whoever sends it can mend it."""

from __future__ import annotations

from analyzer.live.messages import ErrorCode


class Refusal(Exception):  # noqa: N818 - the word of the protocol, whose messages it carries
    """A call, connection or message that cannot be served; ``code`` and ``message`` go to the sender as they are."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
