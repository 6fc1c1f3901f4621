"""What every process is started with: options, logging, TLS, metrics, health, signals, shutdown.

Lives here: everything that `python -m scheduler` and its siblings have in common as processes. May not live here:
anything that knows the Kubernetes API beyond `api`, and anything that talks to the apiserver (that is `client`).
"""

from component.options import BOOL, DURATION, client_options, leader_options, option
from component.process import Process, main

__all__ = ["BOOL", "DURATION", "Process", "client_options", "leader_options", "main", "option"]
