"""Reading `configs/prices.yaml`: what is wrong with it is told by its place, with what to write there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from dpipe import output
from dpipe.contract import source
from dpipe.cost.model import OnVm, PriceFile
from dpipe.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from dpipe.contract.source import DocumentPath, Source
    from dpipe.settings import Project

FILE = Path("configs/prices.yaml")
OURS = Path(__file__).parent.parent / "project" / FILE
LIKE_OURS = "a new project's file has all of them: `dpipe init FOLDER`"
KINDS = {"vm", "glue", "warehouse"}


def prices(project: Project, given: Path | None = None) -> PriceFile:
    """The prices of the file that is given, else the project's, else those that come with dpipe.

    Raises `ConfigError` for a file that can't be read or says something else.
    """
    path = given or project.root / FILE
    if given is None and not path.exists():
        output.note(f"the project has no `{FILE}`: these are the prices that come with dpipe")
        path = OURS
    return read(path)


def read(path: Path) -> PriceFile:
    """What a file says. Raises `ConfigError` with the place of the first thing that is wrong."""
    found, findings = source.read(path)
    if path.exists() and not path.stat().st_size:
        raise ConfigError(f"`{path}` is empty", hint=f"begin anew: {LIKE_OURS}")
    if findings:
        first = findings[0]
        raise ConfigError(
            f"{path}:{first.line}: {first.message}", hint=f"mend it, or begin anew: {LIKE_OURS}"
        )
    try:
        file = PriceFile.model_validate(found.document)
    except ValidationError as error:
        raise _problem(found, error.errors()[0]) from error
    _check_names(found, file)
    return file


def _problem(found: Source, error: ErrorDetails) -> ConfigError:
    # Which kind of architecture it is isn't a key of the file.
    at = tuple(
        part
        for place, part in enumerate(error["loc"])
        if not (place == 2 and error["loc"][0] == "architectures" and part in KINDS)  # noqa: PLR2004
        and part != "[key]"
    )
    name = ".".join(str(part) for part in at)
    if error["type"] == "extra_forbidden":
        return _error(
            found, at, f"unknown key `{name}`", f"known there: {', '.join(_known(found, at))}", key=True
        )
    if error["type"] == "missing":
        return _error(found, at, f"`{name}` is missing", f"add it; {LIKE_OURS}")
    if error["type"] in {"model_type", "dict_type"}:
        return _error(found, at, f"`{name}` is not a mapping", "write its keys below it, each with a value")
    wrong = error["msg"].removeprefix("Value error, ").rstrip(".")
    given = error["input"]
    shown = "" if isinstance(given, (dict, list)) else f", not `{str(given)[:40]}`"
    return _error(found, at, f"`{name}`: {wrong[0].lower()}{wrong[1:]}{shown}", "mend the value")


def _known(found: Source, at: DocumentPath) -> list[str]:
    """The keys that may be where an unknown one is."""
    model: Any = PriceFile
    value = found.document
    for part in at[:-1]:
        value = value[part]
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation
        else:
            model = model.__args__[1]
        if not isinstance(model, type) and hasattr(model, "__metadata__"):
            model = model.__args__[0]
        if not isinstance(model, type) and isinstance(value, dict) and "kind" in value:
            model = next(
                one for one in model.__args__ if value["kind"] in str(one.model_fields["kind"].annotation)
            )
    return sorted(model.model_fields)


def _check_names(found: Source, file: PriceFile) -> None:
    """Refuse what names a price that isn't in the list."""
    listed = file.prices
    named: list[tuple[DocumentPath, str, Any]] = [
        (("ledger", "vm"), file.ledger.vm, listed.vms),
        (("ledger", "edition"), file.ledger.edition, listed.snowflake_credit),
        (("ledger", "warehouse_size"), file.ledger.warehouse_size, listed.snowflake_warehouses),
    ]
    for architecture, one in file.architectures.items():
        at = ("architectures", architecture)
        if isinstance(one, OnVm):
            named.append(((*at, "vm"), one.vm, listed.vms))
        elif one.kind == "warehouse":
            named.append(((*at, "size"), one.size, listed.snowflake_warehouses))
            named.append(((*at, "edition"), one.edition, listed.snowflake_credit))
    for place, name, known in named:
        if name not in known:
            where = ".".join(str(part) for part in place)
            raise _error(
                found, place, f"`{where}`: no price of `{name}` is listed", f"listed are {', '.join(known)}"
            )


def _error(found: Source, at: DocumentPath, message: str, hint: str, *, key: bool = False) -> ConfigError:
    line, _ = found.position(at, key=key)
    return ConfigError(f"{found.path}:{line}: {message}", hint=hint)
