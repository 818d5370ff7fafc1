"""Texts, days and times as JSON Schema's keywords.

`format` stands only where everything that the kernel accepts has JSON Schema's format too, since some validators
check it. Its `date-time` and `time` are RFC 3339, which asks for seconds and a zone; a pattern says what is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpipe.contract.plan import Column

_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?(\.[0-9]{1,6}0*)?"
_MOMENT = f"{_DATE}[Tt ]{_TIME}"
_ZONE = r"([Zz]|[+\-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_URI = r"([A-Za-z0-9._~:\/?\[\]@!$&'()*+,;=\-]|%[0-9A-Fa-f]{2})"
_BASE64 = "[A-Za-z0-9+\\/]"

# By the contract's format of a string. To JSON Schema a `hostname` is RFC 5890 as well, which has more to say of names
# with `xn--`, and a `uri` the whole grammar of RFC 3986, where the kernel looks at the scheme and the characters.
FORMATS: dict[str, dict[str, Any]] = {
    "byte": {
        "contentEncoding": "base64",
        "pattern": f"^({_BASE64}{{4}})*({_BASE64}{{2}}==|{_BASE64}{{3}}=)?$",
    },
    "date": {"format": "date", "pattern": f"^{_DATE}$"},
    "date-time": {"pattern": f"^{_MOMENT}{_ZONE}$"},
    "email": {"format": "email"},
    "hostname": {"pattern": rf"^{_LABEL}(\.{_LABEL})*$"},
    "ipv4": {"format": "ipv4"},
    "ipv6": {"format": "ipv6"},
    "time": {"pattern": f"^{_TIME}$"},
    "uri": {"pattern": rf"^[A-Za-z][A-Za-z0-9+.\-]*:({_URI}+(#{_URI}*)?|#{_URI}*)$"},
    "uuid": {"format": "uuid"},
}


def dated(column: Column) -> tuple[dict[str, Any], str]:
    """The keywords for the text of a day or time, and the same in words."""
    if column.formats:
        return {}, f"Written as {' or '.join(f'`{form}`' for form in column.formats)}."
    if column.kind == "date":
        return FORMATS["date"], ""
    if column.kind == "time":
        return FORMATS["time"], "Time of day in ISO 8601."
    zone, said = _zone(column)
    return {"pattern": f"^{_MOMENT}{zone}$"}, f"Date and time in ISO 8601, {said}."


def _zone(column: Column) -> tuple[str, str]:
    default = column.default_offset
    if column.kind == "timestamp_ntz":
        return "", "without a zone"
    if default is None:
        return _ZONE, "with its zone"
    hours, minutes = divmod(abs(default.minutes), 60)
    offset = f"{'-' if default.minutes < 0 else '+'}{hours:02}:{minutes:02}"
    if default.overridable:
        return f"{_ZONE}?", f"in {offset} unless it says its zone"
    return "", f"without a zone, in {offset}"
