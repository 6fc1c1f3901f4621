"""Upstream's defaults (the SetDefaults_* functions), one module per family of kinds.

Lives here: functions that fill a typed object in place and depend on nothing but the object. May not live here:
what a write does with old and new state (that is a strategy's `prepare_*`) or what depends on the cluster (admission).
Values that Go's decoder normalizes while reading, such as quantities, are normalized here too.
"""
