"""Sources as a program hands them over, and the errors that they may come to."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from dpipe.errors import DpipeError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

Format = Literal["ndjson", "json", "csv", "parquet"]
Compression = Literal["none", "gzip", "zstd", "zip"]
FORMATS: tuple[Format, ...] = ("ndjson", "json", "csv", "parquet")
COMPRESSIONS: tuple[Compression, ...] = ("none", "gzip", "zstd", "zip")
SHOWN_CHARS = 80

_FILE_HINT = "name a file; text itself goes in as bytes: `text.encode()`"
# What Arrow puts before a producer's message, and pyarrow behind it: the whole traceback, which is in the cause.
_WRAPPING = re.compile(r"C Data interface error: .*?Producer error: |Detail: Python exception:.*", re.DOTALL)
# Ctrl-C while pyarrow runs a producer's Python code comes out as its error.
_INTERRUPT = re.compile(r"Python exception:.*^KeyboardInterrupt\b", re.DOTALL | re.MULTILINE)


class ArrowStream(Protocol):
    """Anything that hands out its rows as an Arrow stream: tables of pyarrow, polars, pandas, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A capsule `arrow_array_stream`."""


class ArrowArray(Protocol):
    """Anything that hands out its rows as one Arrow array of structs."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """Capsules `arrow_schema` and `arrow_array`."""


Source = str | os.PathLike[str] | bytes | bytearray | memoryview | ArrowStream | ArrowArray


def is_arrow(source: object) -> bool:
    """Whether a source is an Arrow stream or array, and not text."""
    return hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__")


def opened(source: object, form: str | None, compression: str | None) -> tuple[object, str]:
    """A source as the kernel takes it, and its name: a file's, `bytes` or `stream`.

    Raises `UsageError` when it is nothing that can be read, or isn't written as is said.
    """
    for what, given, known in (("format", form, FORMATS), ("compression", compression, COMPRESSIONS)):
        if given is not None and given not in known:
            names = ", ".join(f"`{name}`" for name in known)
            raise UsageError(f"no {what} `{given}`", hint=f"write one of {names}, or leave it out")
    if isinstance(source, bytes):
        return source, "bytes"
    if isinstance(source, bytearray | memoryview):
        # A copy: nobody changes it while the kernel reads.
        return bytes(source), "bytes"
    if isinstance(source, str | os.PathLike):
        path = _file(Path(os.fsdecode(source)))
        return str(path), path.name
    if is_arrow(source):
        if form is not None or compression is not None:
            raise UsageError("an Arrow stream has neither format nor compression", hint="leave them out")
        return source, "stream"
    raise UsageError(
        f"an object of type `{type(source).__qualname__}` is no source",
        hint="hand over a path, bytes, or an Arrow stream such as a pyarrow, polars or DuckDB table",
    )


def _file(path: Path) -> Path:
    line = str(path).partition("\n")[0][:SHOWN_CHARS]
    shown = line if line == str(path) else f"{line}…"
    try:
        if path.is_file():
            return path
        if path.is_dir():
            raise UsageError(f"`{shown}` is a folder", hint="process its files one by one")
        if path.exists():
            raise UsageError(f"`{shown}` is no regular file", hint="read it, and hand over its bytes")
    except OSError as error:
        raise UsageError(f"`{shown}` can't be read: {error.strerror}", hint=_FILE_HINT) from error
    raise UsageError(f"no file `{shown}`", hint=_FILE_HINT)


@contextmanager
def kernel_errors() -> Iterator[None]:
    """Turn what the kernel raises into dpipe's own errors."""
    from dpipe import _kernel

    try:
        yield
    except _kernel.KernelStreamError as error:
        if _INTERRUPT.search(str(error)):
            raise KeyboardInterrupt from error
        raise SourceError(
            _WRAPPING.sub("", str(error)).strip(),
            hint="the stream's own program failed; a source is a table, each column with a name of its own",
        ) from error
    except _kernel.KernelIoError as error:
        raise UsageError(f"can't be read: {error}", hint="check that the file may be read") from error
    except _kernel.KernelError as error:
        raise DpipeError(
            f"the source can't be processed: {error}",
            hint="please report it, with the contract and the source",
        ) from error
