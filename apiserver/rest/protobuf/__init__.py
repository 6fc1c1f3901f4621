"""Request bodies in Kubernetes' protobuf encoding, which kubectl and every Go client send for built-in kinds.

Lives here: reading them as the JSON they stand for. Answers are always JSON: those clients accept it. May not live
here: anything about the objects themselves.
"""

from apiserver.rest.protobuf.decode import MEDIA_TYPE, to_json

__all__ = ["MEDIA_TYPE", "to_json"]
