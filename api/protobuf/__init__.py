"""Kubernetes' protobuf encoding (`application/vnd.kubernetes.protobuf`), to and from the JSON of the same object.

Lives here: the table of messages (generated), what turns plain JSON values into messages and back, the envelope that
names an object's type, and the frames of a watch. May not live here: HTTP, or anything about what objects mean.
"""

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
