"""Measurements, one script each; ``README.md`` says what came out."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does (analyzer.cli): what is measured is its work
