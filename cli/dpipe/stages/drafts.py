"""Drafts: a contract that was drafted from a file becomes the project's, and the file a source of its dataset."""

from __future__ import annotations

import json
from glob import escape
from typing import TYPE_CHECKING

import yaml

from dpipe.contract.columns import NAME
from dpipe.errors import ConfigError, UsageError
from dpipe.folders import replace_text
from dpipe.settings import CONFIG_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project


def place(project: Project, dataset: str) -> Path:
    """Where the dataset's contract goes. Raises `UsageError` when there is one already, or there can be none."""
    if not NAME.fullmatch(dataset):
        raise UsageError(
            f"`{dataset}` can't name a dataset",
            hint="use a-z, 0-9 and `_`, and begin with a letter: take the file by itself, with --dataset",
        )
    path = project.contracts / f"{dataset}.odcs.yaml"
    if path.exists():
        raise UsageError(
            f"`{dataset}` has a contract already: `{path}`",
            hint="print the draft without --write and take over what you want, or name another dataset",
        )
    return path


def write(project: Project, dataset: str, text: str, file: Path) -> Path:
    """Write a draft as the dataset's contract, and name the file in `sources` unless the dataset has one there."""
    path = place(project, dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text)
    if dataset not in project.settings.sources:
        _add_source(project.root / CONFIG_FILE, dataset, _shown(project, file))
    return path


def _shown(project: Project, file: Path) -> str:
    """A file as settings name it: from the project's folder on when it lies there, and nothing of it a wildcard."""
    file, root = file.resolve(), project.root.resolve()
    return escape(file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file))


def _add_source(path: Path, dataset: str, file: str) -> None:
    """Add a line to the settings. It is put in as text, so that comments and everything else stay as they are."""
    text = path.read_text(encoding="utf-8")
    try:
        after = _with_source(text, dataset, file)
        added = yaml.safe_load(after)["sources"][dataset] == file
    except (yaml.YAMLError, KeyError, TypeError):
        added = False
    if not added:
        raise ConfigError(
            f"`{path}` can't be added to", hint=f"write `{dataset}: {file}` under its `sources` yourself"
        )
    replace_text(path, after)


def _with_source(text: str, dataset: str, file: str) -> str:
    """The settings with one more entry of `sources`."""
    name = json.dumps(file, ensure_ascii=False) if set(file) & set("#:,[]{}\"'") else file
    entry = f"{dataset}: {name}"
    document = yaml.compose(text)
    pairs = document.value if isinstance(document, yaml.MappingNode) else ()
    node = next((value for key, value in pairs if key.value == "sources"), None)
    if node is None:
        return f"{text.rstrip()}\n\nsources:\n  {entry}\n"
    if not node.value:  # nothing, or `{}`
        return f"{text[: node.start_mark.index].rstrip()}\n  {entry}{text[node.end_mark.index :]}"
    if node.flow_style:
        closing = node.end_mark.index - 1
        return f"{text[:closing].rstrip()}, {entry}{text[closing:]}"
    (first, _), (_, last) = node.value[0], node.value[-1]
    lines = f"{text.rstrip()}\n".splitlines(keepends=True)
    lines.insert(last.end_mark.line + 1, f"{' ' * first.start_mark.column}{entry}\n")
    return "".join(lines)
