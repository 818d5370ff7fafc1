"""Problems, told in words instead of a traceback."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import streamlit as st
from dpipe.errors import DpipeError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def problems_told() -> Iterator[None]:
    """Show a `DpipeError` of the block with its hint; the page ends there."""
    try:
        yield
    except DpipeError as error:
        st.error(error.message[:1].upper() + error.message[1:], icon=":material/error:")
        if error.hint:
            st.caption(f"Hint: {error.hint}")


def nothing_yet(what: str, command: str) -> None:
    """Say kindly that there is nothing to show yet, and which command changes that."""
    st.info(f"{what} `{command}` changes that.", icon=":material/info:")
