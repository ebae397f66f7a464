"""How the bundled `demo` model is made: text, synthetic speech, training, conversion, evaluation.

Run from the repository root, in this order (see ``models/demo/README.md`` for the figures they gave):

    python -m models.training.corpus --out build/corpus --clips 90000
    python -m models.training.train  --corpus build/corpus --out build/demo.pt --minutes 95
    python -m models.training.convert build/demo.pt models/demo
"""
