"""Volumes and claims: which belongs to which, how they come to be, and that neither goes while it is needed."""
