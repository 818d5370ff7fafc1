"""Formats of strings as SQL conditions.

The kernel judges formats to the letter. Here is what SQL can say of them: exactly so for dates and times,
otherwise a regular expression that every text of the format matches.
"""

from __future__ import annotations

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ATOM = "[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
# Quotes are doubled: the expressions stand in SQL texts.
_PATTERNS = {
    "byte": "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
    "email": rf"{_ATOM}([.]{_ATOM})*@{_LABEL}([.]{_LABEL})+",
    "hostname": rf"{_LABEL}([.]{_LABEL})*",
    "ipv4": rf"{_OCTET}([.]{_OCTET}){{3}}",
    "ipv6": "[0-9A-Fa-f:.]{2,45}",
    "uri": "[A-Za-z][A-Za-z0-9+.-]*:[!-~]+",
    "uuid": "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
}
_TYPES = {"date": "date", "time": "time", "date-time": "timestamptz"}


def condition(column: str, form: str) -> str:
    """Whether the quoted `column` holds a text of the format."""
    if form in _TYPES:
        return f"{column} is null or try_cast({column} as {_TYPES[form]}) is not null"
    return f"regexp_full_match({column}, '{_PATTERNS[form]}')"
