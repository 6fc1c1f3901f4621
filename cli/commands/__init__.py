"""One file per command. `cli.main` names them and imports a file only when its command runs.

A command parses its flags, calls the library modules above this folder, and prints; nothing here is imported by them.
"""
