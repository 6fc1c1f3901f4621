"""The Status that some subresources answer with."""

from __future__ import annotations

from api import codec
from api.types.meta_v1 import Status
from apiserver.operations import Reply

SUCCESS = Reply(codec.encode(Status(status="Success", code=201)), 0, 201)
