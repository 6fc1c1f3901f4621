"""Manifests that every cluster gets, and the program that applies them (`python -m deploy.addons`).

What may not live here: anything the control plane needs to work. Addons are ordinary pods, applied as anyone would.
"""
