"""Rows of Iceberg tables as Spark reads them: metadata locations by name on stdin, rows by name on stdout, as JSON."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any

from pyspark.sql import Row, SparkSession

RUNTIME = "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0"


def plain(value: Any) -> Any:
    if isinstance(value, Row):
        return {name: plain(inner) for name, inner in value.asDict().items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def main() -> None:
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars.packages", RUNTIME)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    locations = json.load(sys.stdin)
    rows = {
        name: [plain(row) for row in session.read.format("iceberg").load(location).collect()]
        for name, location in locations.items()
    }
    json.dump(rows, sys.stdout)


main()
