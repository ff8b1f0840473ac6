"""What an ONNX file holds, read without opening it: models come from strangers, and a session runs what is in them.

Only what a network of layers needs is let through: no loops or branches (which may never end), no operators from
elsewhere, no functions, no weights from other files. Sizes of tensors are checked by ONNX Runtime itself.

The file is a message of protocol buffers (https://protobuf.dev/programming-guides/encoding/); the numbers of the fields
are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from segae.errors import ModelFileError

MOST_BYTES = 1 << 30

# Operators that run a graph of their own, perhaps for ever.
_CONTROL = frozenset({"Loop", "Scan", "If", "SequenceMap"})
_DOMAINS = frozenset({"", "ai.onnx"})
# Messages and fields of onnx.proto.
_MODEL_GRAPH, _MODEL_METADATA, _MODEL_FUNCTIONS = 7, 14, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 10, (6, 11)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5

_Field = tuple[int, int, memoryview]


class _NoMessageError(Exception):
    """The bytes are no message of protocol buffers."""


def read_model(path: Path) -> bytes:
    """Contents of a model file that is a network of layers and nothing more.

    Raises
    ------
    ModelFileError
        With what was found.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ModelFileError(f"model: {path} has {size >> 20} MB; a judge has a few, and {MOST_BYTES >> 20} at most.")
    model = path.read_bytes()
    check_graph(model, path)
    return model


def check_graph(model: bytes, path: Path) -> None:
    """Refuse a model that is more than a network of layers; `path` is named in the error.

    Raises
    ------
    ModelFileError
    """
    try:
        found = next(_forbidden(memoryview(model)), None)
    except _NoMessageError:
        found = "it is no ONNX file, or a damaged one"
    if found is not None:
        raise ModelFileError(f"model: {path} cannot be opened as an ONNX file of a judge: {found}.")


def metadata(model: bytes, key: str) -> bytes | None:
    """What a model that was checked says under a key of its metadata."""
    for field, wire, value in _fields(memoryview(model)):
        if field == _MODEL_METADATA and wire == _BYTES:
            entry = {part: held for part, kind, held in _fields(value) if kind == _BYTES}
            if bytes(entry.get(1, b"")) == key.encode():
                return bytes(entry.get(2, b""))
    return None


def _forbidden(model: memoryview) -> Iterator[str]:
    for field, _, value in _fields(model):
        if field == _MODEL_FUNCTIONS:
            yield "it defines functions"
        elif field == _MODEL_GRAPH:
            for part, _, held in _fields(value):
                if part == _GRAPH_NODE:
                    yield from _forbidden_in_node(held)
                elif part == _GRAPH_INITIALIZER and _is_external(held):
                    yield "its weights lie in another file"
                elif part == _GRAPH_SPARSE:
                    yield "it has sparse weights"


def _forbidden_in_node(node: memoryview) -> Iterator[str]:
    kind, domain = "", ""
    for field, wire, value in _fields(node):
        if field == _NODE_TYPE and wire == _BYTES:
            kind = bytes(value[:80]).decode(errors="replace")
        elif field == _NODE_DOMAIN and wire == _BYTES:
            domain = bytes(value[:80]).decode(errors="replace")
        elif field == _NODE_ATTRIBUTE and wire == _BYTES:
            for part, _, held in _fields(value):
                if part in _ATTRIBUTE_GRAPHS:
                    yield "it has a graph within a node (a loop or a branch)"
                elif part in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS) and _is_external(held):
                    yield "a constant lies in another file"
    if kind in _CONTROL:
        yield f"it has the operator {kind}, which may never end"
    if domain not in _DOMAINS:
        yield f"it has the operator {kind} of {domain!r}, which is no standard one"


def _is_external(tensor: memoryview) -> bool:
    return any(
        field == _TENSOR_EXTERNAL or (field == _TENSOR_LOCATION and wire == _VARINT and value[0] != 0)
        for field, wire, value in _fields(tensor)
    )


def _fields(message: memoryview) -> Iterator[_Field]:
    """Number, wire type and bytes of each field; of integers, their encoded bytes."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            begin = at
            _, at = _varint(message, at)
        elif wire == _BYTES:
            size, begin = _varint(message, at)
            at = begin + size
        elif wire in (_FIXED_32, _FIXED_64):
            begin, at = at, at + (4 if wire == _FIXED_32 else 8)
        else:
            raise _NoMessageError
        if field == 0 or at > end:
            raise _NoMessageError
        yield field, wire, message[begin:at]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _NoMessageError
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _NoMessageError
