"""Chaos: the real processes under a load of purchases, struck by faults that a seed draws; then everything must be right.

`python -m tests.faults.chaos --seed 7 --duration 120`, or `make chaos SEED=7 DURATION=120`.
"""
