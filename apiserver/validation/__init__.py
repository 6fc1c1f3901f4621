"""What upstream accepts, kind by kind: functions from typed objects to lists of `FieldError`, in upstream's words.

Lives here: rules that hold whatever the cluster's policy is, one module per family of kinds. May not live here: what
needs other objects (admission does), or changes an object (defaults and strategies do). A valid object costs no
exception and, but for lists, builds no field path.
"""
