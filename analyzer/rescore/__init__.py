"""Stored calls judged again, without their recordings: by other rules, in parallel, old and new side by side.

``stored``    where stored calls lie, and reading them
``changes``   what differs between two judgements of a call
``workers``   judging in processes, in the order of the inputs
``tables``    old and new scores as Parquet
``running``   the new run folder
"""
