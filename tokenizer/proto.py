"""SentencePiece's ``ModelProto``, read from a file's content."""

from typing import Any


def parse_proto(content: bytes) -> Any | None:
    """Return the ``ModelProto`` that bytes spell, or None where they spell no model."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()  # pyright: ignore[reportAttributeAccessIssue]
    try:
        proto.ParseFromString(content)
    except DecodeError:
        return None
    return proto if proto.pieces else None
