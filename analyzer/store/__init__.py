"""The database of the review desk: what run folders hold, made searchable, and what people decided about it.

The run folder stays the truth of what the analyzer said; everything a person did exists only here.
"""

from __future__ import annotations

from analyzer.store.database import Store, open_store

__all__ = ["Store", "open_store"]
