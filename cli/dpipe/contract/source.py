"""A contract's YAML text as plain values, with the place of every one of them.

The text is composed into nodes and no further: nothing in it can make an object, and aliases, which can blow
a small file up to any size, are not taken.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dpipe.contract.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path

DocumentPath = tuple[str | int, ...]

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 32

_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,38})")
_WORDS = {"true": True, "false": False}


@dataclass
class Source:
    """A parsed text. Paths are keys and indexes from the top; positions are (line, column), from 1.

    `path` is its file's, which a project finds by the dataset's name; a text that is `loose` is in no project.
    """

    path: Path
    loose: bool = False
    document: Any = None
    keys: dict[DocumentPath, tuple[int, int]] = field(default_factory=dict)
    values: dict[DocumentPath, tuple[int, int]] = field(default_factory=dict)
    scalars: set[DocumentPath] = field(default_factory=set)

    def position(self, at: DocumentPath, *, key: bool = False) -> tuple[int, int]:
        """Where a value stands (its key, when it is a collection); what would hold it, if it isn't there."""
        while at and at not in self.values:
            at, key = at[:-1], True
        if (key or at not in self.scalars) and at in self.keys:
            return self.keys[at]
        return self.values.get(at, (1, 1))


class _Refused(Exception):  # noqa: N818 - carries a finding out of the walk, never reaches a caller
    def __init__(self, mark: Any, message: str, hint: str) -> None:  # noqa: ANN401 - ruamel's marks are untyped
        super().__init__(message)
        self.finding = ((mark.line + 1, mark.column + 1) if mark else (1, 1), message, hint)


def read(path: Path, content: bytes | None = None, *, loose: bool = False) -> tuple[Source, list[Finding]]:
    """Parse a file, or the content that is given in its place.

    A file that can't be read or holds no mapping gives findings and an empty document.
    """
    source = Source(path, loose)
    try:
        text = _text(_content(path) if content is None else content)
        _bound(text)
        node = YAML(typ="safe", pure=True).compose(io.StringIO(text))
        source.document = _value(source, _top(node), ())
    except _Refused as refused:
        return source, [_finding(path, *refused.finding)]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(str(error.problem or error.context or "it is not YAML").split())
        at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return source, [_finding(path, at, f"not YAML: {said}", "mend the syntax at this place")]
    except (YAMLError, ValueError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return source, [_finding(path, (1, 1), f"not YAML: {said}", "save the file as UTF-8 text")]
    return source, []


def _top(node: Node | None) -> MappingNode:
    if isinstance(node, MappingNode):
        return node
    raise _Refused(
        node.start_mark if node else None,
        "a contract is a mapping" if node else "the file holds no contract",
        "begin with `apiVersion: v3.1.0` and `kind: DataContract`",
    )


def _finding(path: Path, at: tuple[int, int], message: str, hint: str) -> Finding:
    return Finding(path, *at, "error", message, hint)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _Refused(None, f"can't be read: {error.strerror}", "name a contract's file") from error


def _text(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise _Refused(
            None,
            f"larger than {MAX_BYTES:,} bytes",
            "a contract describes one dataset; move the rest elsewhere",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start)
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1)
        raise _Refused(_Mark(line, column), "not UTF-8 text", "save the file as UTF-8") from error


@dataclass
class _Mark:
    line: int
    column: int


def _bound(text: str) -> None:
    """Refuse what would take the composer too deep or too long, by a walk over the events."""
    depth = nodes = 0
    for event in YAML(typ="safe", pure=True).parse(io.StringIO(text)):
        if isinstance(event, AliasEvent):
            raise _Refused(event.start_mark, f"alias `*{event.anchor}`", "write the value out at this place")
        nodes += isinstance(event, NodeEvent)
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _Refused(event.start_mark, f"nested deeper than {MAX_DEPTH} levels", "flatten it")
        if nodes > MAX_NODES:
            raise _Refused(event.start_mark, f"more than {MAX_NODES:,} values", "describe one dataset a file")


def _value(source: Source, node: Node, at: DocumentPath) -> Any:  # noqa: ANN401 - any YAML value
    source.values[at] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, MappingNode):
        return _mapping(source, node, at)
    if isinstance(node, SequenceNode):
        if node.tag != f"{_TAG}seq":
            raise _unknown_tag(node)
        return [_value(source, item, (*at, index)) for index, item in enumerate(node.value)]
    source.scalars.add(at)
    return _scalar(node)


def _mapping(source: Source, node: MappingNode, at: DocumentPath) -> dict[str, Any]:
    if node.tag != f"{_TAG}map":
        raise _unknown_tag(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, ScalarNode) or key_node.tag != f"{_TAG}str":
            raise _Refused(key_node.start_mark, "a key that is not a word", "quote it, or write an ODCS key")
        key = _scalar(key_node)
        if key in result:
            first = source.keys[*at, key][0]
            raise _Refused(
                key_node.start_mark, f"`{key}` is there twice, first on line {first}", "keep one of the two"
            )
        source.keys[*at, key] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        result[key] = _value(source, value_node, (*at, key))
    return result


def _scalar(node: Node) -> Any:  # noqa: ANN401 - any YAML scalar
    """A scalar's value. Dates stay text, as ODCS has them; spellings that readers disagree on are refused."""
    text: str = node.value
    kind = str(node.tag).removeprefix(_TAG)
    if kind in {"str", "timestamp"}:
        try:
            # JSON, which is YAML, may spell a character as two escaped surrogates.
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise _Refused(
                node.start_mark, "half of a surrogate pair", "write the character itself"
            ) from error
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if kind == "int" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "float" and _finite(text):
        return float(text)
    if kind in {"int", "float", "bool"}:
        raise _Refused(
            node.start_mark,
            f"`{text[:40]}` reads differently elsewhere",
            "write a plain decimal number of at most 15 digits, or quote it",
        )
    raise _unknown_tag(node)


def _finite(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and _is_kept(text, value)


def _is_kept(text: str, value: float) -> bool:
    """Whether a 64-bit float holds every digit that is written: its shortest spelling is the same number."""
    try:
        return Decimal(text) == Decimal(repr(value))
    except InvalidOperation:
        return False


def _unknown_tag(node: Node) -> _Refused:
    return _Refused(node.start_mark, f"tag `{node.tag}`", "write a plain value, without a tag")
