"""Tests mirror the package; what several of them share lies beside them (``fake_hub``, ``random_whisper``)."""
