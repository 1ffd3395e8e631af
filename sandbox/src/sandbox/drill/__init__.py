"""The restore of a backup, rehearsed with everything that runs: `python -m sandbox.drill`."""
