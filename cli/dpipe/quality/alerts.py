"""Alerts: telling people, where they look, that something needs them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dpipe import output
from dpipe.errors import ConfigError

if TYPE_CHECKING:
    import apprise

    from dpipe.settings import Project


def check(project: Project) -> None:
    """Raise `ConfigError` when alerts are asked for and can't be sent: a URL of no known kind, or no library."""
    if project.settings.alert_urls:
        _receivers(project)


def send(project: Project, title: str, body: str) -> None:
    """Send an alert to every URL of the setting `alert_urls`; one that can't be delivered is a warning, no more."""
    if not project.settings.alert_urls:
        return
    # It would say on its own what it sends and where to.
    logging.getLogger("apprise").disabled = True
    receivers = _receivers(project)
    undelivered = sum(not receiver.notify(title=title, body=body) for receiver in receivers)
    if undelivered:
        output.warn(f"{undelivered} of {len(receivers)} alert(s) could not be delivered: {title}")


def _receivers(project: Project) -> list[apprise.NotifyBase]:
    try:
        import apprise
    except ImportError as error:
        raise ConfigError(
            "alerts need a library that isn't installed",
            hint="install `dpipe[alerts]`, or unset `DPIPE_ALERT_URLS`",
        ) from error
    receivers = []
    for number, url in enumerate(project.settings.alert_urls, start=1):
        receiver = apprise.Apprise.instantiate(url.get_secret_value())
        if receiver is None:
            # Without the URL, which has the secret.
            raise ConfigError(
                f"URL {number} of `DPIPE_ALERT_URLS` is of no kind that is known",
                hint="see apprise's documentation for the form, e.g. `slack://…`, `mailto://…`, `json://host/path`",
            )
        receivers.append(receiver)
    return receivers
