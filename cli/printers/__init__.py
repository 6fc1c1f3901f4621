"""Turns objects and server-side Tables into what a person or a script reads. No requests are made here."""
