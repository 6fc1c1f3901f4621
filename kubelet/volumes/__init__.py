"""One file for each kind of volume, and the manager that sets them up, keeps them current and takes them down.

May not live here: anything about containers; a volume is a directory (or device) on the node by the time it is used.
"""
