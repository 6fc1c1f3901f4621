"""Asking containers how they are: one file per way of asking, and the workers that ask in time and count.

May not live here: what follows from an answer (restarts, readiness); that is the pod worker's.
"""
