"""The bench's nested input: orders with an object, one inside it, an array of objects and one of texts.

One in a hundred is faulty: it breaks off, is there twice, has a text where an object is expected, a text inside two
objects that doesn't match its pattern, in an item another type, a value out of range or a null where none may be, a
null item, three faults in two items and the address, no items, too many, or too long a text in the array of texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpipe.bench.made import any_of, lines_of, random_number, write_text
from dpipe.contract import Column, Plan, Rule

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.bench.flights import Compression

STATUSES = ("placed", "paid", "shipped", "delivered", "returned")
NAMES = ("Ada Lovelace", "Grace Hopper", "Edgar Codd", "Barbara Liskov", "Zoë Ångström", "Jim Gray")
STREETS = ("Main Street", "Station Road", "Rue de Rivoli", "Kärntner Straße", "Via Roma")
CITIES = ("Albany", "Boston", "Lyon", "Wien", "Torino", "Leeds", "Porto", "Gent")
COUNTRIES = ("AT", "BE", "FR", "GB", "IT", "PT", "US")
TAGS = ("gift", "express", "first order", "fragile", "pick-up", "b2b")
MOST_ITEMS, MOST_TAGS = 8, 4

FAULTS = (
    "breaks off",
    "twice",
    "address is no object",
    "pattern",
    "type of an item",
    "range of an item",
    "null in an item",
    "null item",
    "two items",
    "no items",
    "too many items",
    "long tag",
)


def plan() -> Plan:
    """Seven columns, three of them nested, with rules at every depth; the key is the order's id."""
    address = _object(
        "address",
        _text("street", Rule("maxLength", 40)),
        _text("city", Rule("maxLength", 30), required=True),
        _text("zip", Rule("pattern", "^[0-9]{5}$"), required=True),
        _text("country", Rule("enum", COUNTRIES), required=True),
    )
    customer = _object(
        "customer",
        Column("customer_id", "int64", required=True, rules=(Rule("minimum", 1.0),)),
        _text("name", Rule("maxLength", 40), required=True),
        _text("email", Rule("pattern", "@")),
        address,
        required=True,
    )
    item = _object(
        "element",
        _text("sku", Rule("pattern", "^[A-Z]{2}-[0-9]{5}$"), required=True),
        Column("quantity", "int32", required=True, rules=_between(1, 100)),
        Column("price", "float64", required=True, rules=_between(0, 10_000)),
        Column("discount", "float64", rules=_between(0, 1)),
        required=True,
    )
    counts = (Rule("minItems", 1), Rule("maxItems", MOST_ITEMS))
    return Plan(
        dataset="orders",
        contract="0" * 64,
        columns=(
            Column("order_id", "int64", required=True, rules=(Rule("minimum", 1.0),)),
            Column("ordered_at", "timestamp", required=True),
            _text("status", Rule("enum", STATUSES), required=True),
            customer,
            Column("items", "list", required=True, rules=counts, fields=(item,)),
            Column(
                "tags",
                "list",
                rules=(Rule("maxItems", MOST_TAGS),),
                fields=(_text("element", Rule("maxLength", 12), required=True),),
            ),
            Column("total", "float64", required=True, rules=(Rule("minimum", 0.0),)),
        ),
        key=("order_id",),
    )


def write(path: Path, records: int, *, compression: Compression = "none") -> None:
    """Write `records` orders as NDJSON, and a few more, since to be there twice is a fault; always the same ones."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"CREATE TEMP VIEW orders AS {_orders()} FROM range({records:d}) numbers(n)")
        write_text(connection, lines_of(_line(), "orders"), path, "", compression)


def _object(name: str, *fields: Column, required: bool = False) -> Column:
    return Column(name, "struct", required=required, fields=fields)


def _text(name: str, rule: Rule, *, required: bool = False) -> Column:
    return Column(name, "string", required=required, rules=(rule,))


def _between(low: float, high: float) -> tuple[Rule, Rule]:
    return Rule("minimum", float(low)), Rule("maximum", float(high))


def _orders() -> str:
    """SQL of what there is one of in an order, and its fault.

    An order has one to five items; one customer in 20 has no address, one in ten no e-mail address, every third order
    no tags.
    """
    return f"""
    SELECT n,
        if({random_number(1, 100)} = 0, {any_of(2, FAULTS)}, '') AS fault,
        CASE fault WHEN 'no items' THEN 0 WHEN 'too many items' THEN {MOST_ITEMS + 1}
            WHEN 'two items' THEN 2 + {random_number(3, 4)} ELSE 1 + {random_number(3, 5)} END AS items,
        {random_number(4, 1000)} % greatest(items, 1) AS hit,
        {random_number(5, 20)} > 0 AS has_address,
        {random_number(6, 10)} > 0 AS has_email,
        greatest({random_number(7, 6)} - 1, 0) % 4 AS tags,
        {random_number(8, 50_000)} + 1 AS customer_id,
        {any_of(9, NAMES)} AS name,
        {any_of(10, STATUSES)} AS status,
        {random_number(11, 500_000)} / 100 AS total"""


def _line() -> str:
    """SQL of an order's line."""
    return f"""concat('{{"order_id":', n + 1, ',"ordered_at":"',
        strftime(TIMESTAMP '2024-01-01' + to_seconds(n * 7), '%Y-%m-%dT%H:%M:%SZ'),
        '","status":"', status, '","customer":{{"customer_id":', customer_id, ',"name":"', name, '","email":',
        if(has_email, concat('"c', customer_id, '@example.org"'), 'null'), ',"address":', {_address()},
        '}},"items":[', {_items()}, '],"tags":', {_tags()}, ',"total":', format('{{:.2f}}', total), '}}')"""


def _address() -> str:
    return f"""CASE WHEN fault = 'address is no object' THEN '"somewhere"'
        WHEN NOT has_address AND fault NOT IN ('pattern', 'two items') THEN 'null'
        ELSE concat('{{"street":"', 1 + {random_number(20, 200)}, ' ', {any_of(21, STREETS)},
            '","city":"', {any_of(22, CITIES)}, '","zip":"',
            if(fault IN ('pattern', 'two items'), '12-34', (10000 + {random_number(23, 90_000)})::VARCHAR),
            '","country":"', {any_of(24, COUNTRIES)}, '"}}') END"""


def _items() -> str:
    """SQL of the items; a fault is in the one that it hits, or in two of them."""
    of = f"(n * {MOST_ITEMS + 1} + i)"
    return f"""array_to_string(list_transform(range(items), lambda i: CASE
        WHEN fault = 'null item' AND i = hit THEN 'null'
        ELSE concat('{{"sku":',
            if(fault = 'null in an item' AND i = hit, 'null',
                concat('"', {any_of(30, ("AB", "KX", "QZ"), of)}, '-', 10000 + {random_number(31, 90_000, of)}, '"')),
            ',"quantity":', CASE WHEN fault = 'type of an item' AND i = hit THEN '"many"'
                WHEN fault = 'range of an item' AND i = hit THEN '0'
                WHEN fault = 'two items' AND i < 2 THEN '101'
                ELSE (1 + {random_number(32, 9, of)})::VARCHAR END,
            ',"price":', format('{{:.2f}}', {random_number(33, 20_000, of)} / 100),
            ',"discount":',
            if({random_number(34, 4, of)} = 0, format('0.{{}}', 1 + {random_number(35, 5, of)}), 'null'),
            '}}') END), ',')"""


def _tags() -> str:
    tag = any_of(40, TAGS, f"(n * {MOST_TAGS} + i)")
    return f"""CASE WHEN fault = 'long tag' THEN '["gift","a tag that is too long"]'
        WHEN tags = 0 THEN if(n % 2 = 0, 'null', '[]')
        ELSE concat('["', array_to_string(list_transform(range(tags), lambda i: {tag}), '","'), '"]') END"""
