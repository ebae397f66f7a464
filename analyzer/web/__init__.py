"""The browser pages of live coaching: plain files, no build step, nothing loaded from outside."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"  # served as /static
CONTENT_SECURITY_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"


def page(name: str) -> Path:
    """The file of a page: overlay (/overlay/…), supervisor (/supervisor), call (/supervisor/…) or token (the 401)."""
    return FOLDER / f"{name}.html"
