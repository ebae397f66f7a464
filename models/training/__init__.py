"""How the bundled `demo` model is made: text, synthetic speech, training, conversion, evaluation.

Run from the repository root, in this order (see ``models/demo/README.md`` for the figures they gave):

    python -m models.training.corpus  --out build/corpus --clips 36000
    python -m models.training.train   --stage encoder --corpus build/corpus --out build/encoder.pt --minutes 13
    python -m models.training.train   --stage decoder --sound-alike --start build/encoder.pt … --minutes 34
    python -m models.training.train   --stage joint --short 0.6 --start build/decoder.pt … --minutes 33
    python -m models.training.convert build/demo.pt models/demo
    python -m models.training.calibrate models/demo

``--start models/demo`` trains on from the shipped model: first ``--stage teachers`` for a few minutes, since the
teachers are not part of it, then ``joint``.
"""
