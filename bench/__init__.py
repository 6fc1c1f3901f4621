"""Programs that measure; each prints one table. Run them with `make bench` or one by one: `python -m bench.scheduler`.

May not live here: assertions about time. A number that README or docs quote comes from one of these.
"""
