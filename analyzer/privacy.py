"""Personal identifiers in what was said, written or spoken: found, and masked."""
