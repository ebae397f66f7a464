"""Real-time speech compliance analyzer for Chinese call centres."""

__version__ = "0.1.0"
