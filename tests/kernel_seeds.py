"""Write the inputs that fuzzing starts from: the cases of `docs/contract-semantics.md`, and runs of random records."""

from __future__ import annotations

import json
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import kernel_inputs
from dpipe.contract import Column, Plan
from semantics_doc import code, tables, to_bytes

ROOT = Path(__file__).parent.parent
DOC = ROOT / "docs" / "contract-semantics.md"
PLAN = json.loads((ROOT / "rust_ext/fuzz/plan.json").read_text(encoding="utf-8"))
# The first bytes of an input: which columns and options, and how the source is cut (`Setting` in the fuzz crate).
ALL_COLUMNS, TWO_COLUMNS = 0, 1
CUTS = bytes([0, 1, 6, 15])
FORMATS = ["ndjson", "json", "csv"]
# A record of the columns that random records leave out.
OTHER_TYPES = b'{"p": 1.05, "k": "12:30", "u": "10.20.0.1", "l": [{"x": 1, "y": ["a", null]}, {"x": 2}]}'


def documented() -> dict[str, list[bytes]]:
    """Every case of the page, as a file of its format."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for _, rows in tables(DOC.read_text(encoding="utf-8")):
        for row in rows:
            given = to_bytes(code(row.cells[0])[0]) if code(row.cells[0]) else b""
            match row.shape[0]:
                case "JSON value" | "JSON record":
                    record = given if row.shape[0] == "JSON record" else b'{"a": ' + given + b"}"
                    found["ndjson"].append(record + b"\n" + record + b"\n")
                    found["json"].append(b"[" + record + b", " + record + b"]")
                case "CSV field":
                    found["csv"].append(b"a,b\n" + given + b",x\n" + given + b",y\n")
                case "NDJSON file" | "JSON file" | "CSV file":
                    found[row.shape[0].split()[0].lower()].append(given)
    return found


def runs() -> dict[str, list[bytes]]:
    """Files of regular records with one of each deviation in between."""
    columns = tuple(Column(column["name"], column["type"]) for column in PLAN["columns"] if _is_plain(column))
    plan = Plan("things", "c", columns)
    header = ",".join(column.name for column in columns).encode()
    found: dict[str, list[bytes]] = defaultdict(list)
    for seed, spacing in enumerate(kernel_inputs.SPACINGS):
        rng = random.Random(seed)
        for how in kernel_inputs.JSON_DEVIATIONS:
            ways = ["regular"] * 4 + [how] + ["regular"] * 2
            records = [kernel_inputs.json_record(plan, way, spacing, rng) for way in ways]
            found["ndjson"].append(b"\n".join([*records, b""]))
            found["json"].append(b"[" + b",".join(records) + b"]")
        for how in kernel_inputs.CSV_DEVIATIONS:
            ways = ["regular"] * 4 + [how] + ["regular"] * 2
            records = [kernel_inputs.csv_record(plan, list(columns), way, rng) for way in ways]
            found["csv"].append(b"\n".join([header, *records, b""]))
    found["ndjson"].append(OTHER_TYPES + b"\n" + OTHER_TYPES + b"\n")
    found["json"].append(b"[" + OTHER_TYPES + b", " + OTHER_TYPES + b"]")
    found["csv"].append(
        b"p,k,u,l\n" + b'-2.35,08:30:01.5,10.20.0.1,[]\n1.05,21:00,1.2.3.4,"[{""x"": 1}]"\n' * 2
    )
    return found


def _is_plain(column: dict[str, Any]) -> bool:
    """Whether random records have a column of the kind; what else it asks for they hardly meet."""
    rules = {rule["rule"] for rule in column.get("rules", [])}
    return column["type"] in kernel_inputs.KINDS and "format" not in rules


def inputs() -> dict[str, list[bytes]]:
    """All inputs by target."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for options, files in ((TWO_COLUMNS, documented()), (ALL_COLUMNS, runs())):
        for form, contents in files.items():
            for number, content in enumerate(contents):
                start = bytes([options, CUTS[number % len(CUTS)]])
                found[form].append(start + content)
                if number % 4 == 0:
                    # Every second one with a unique column.
                    kind = FORMATS.index(form) + 3 * (len(found["run"]) % 2)
                    found["run"].append(bytes([kind]) + start + content)
    found["plan"] = [json.dumps(PLAN).encode()]
    for column in PLAN["columns"]:
        one = {
            **PLAN,
            "compare": [],
            "columns": [column],
            "key": [] if "fields" in column else [column["name"]],
        }
        found["plan"].append(json.dumps(one).encode())
    return found


def main(folder: Path) -> None:
    for target, contents in inputs().items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (folder / target / f"{number:04}").write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
