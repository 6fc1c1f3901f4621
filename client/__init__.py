"""What every component is built with to talk to the apiserver, and to react to what it says.

Lives here: the `Api` client (gRPC, mutual TLS), watches, informers, work queues, the controller runner, leader
election, the event recorder, expectations, and `client.fake`, an in-memory API for fast tests. May not live here:
anything about one kind of object in particular, and anything about how a process starts (that is `component`).
"""

from client.api import Api, Event, ListResult
from client.transport import TLS
from client.writes import Bind, Create, CreateSubresource, Delete, Kind, Patch, Ref, Update, UpdateStatus, Write

__all__ = [
    "TLS",
    "Api",
    "Bind",
    "Create",
    "CreateSubresource",
    "Delete",
    "Event",
    "Kind",
    "ListResult",
    "Patch",
    "Ref",
    "Update",
    "UpdateStatus",
    "Write",
]
