"""The group of a push: a job and the labels beside it, checked, and written into an address."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import quote

from otel_aioprom._core.labels import Pairs
from otel_aioprom._core.names import is_valid_label_name
from otel_aioprom.errors import InvalidLabelsError

_JOB_PLACE = "job/{0}"
_PLACE = "{0}"
_CLEANED_AWAY = ("", ".", "..")
"""Values that servers take out of paths, percent-encoded or not."""


def check_group(job: str, grouping_key: Mapping[str, str]) -> Pairs:
    """Return the labels of a group, the job first, the others sorted by name.

    Args:
        job: Any text but the empty one.
        grouping_key: Labels beside the job; values may be any text.

    Raises:
        TypeError: A value is no text.
        ValueError: There is no job, or a text that UTF-8 cannot carry: one such push breaks a gateway for all.
        InvalidLabelsError: A name is malformed, reserved or ``job``.

    Spec:
        E82, E83.
    """
    _check_text("the job's name", job)
    if not job:
        raise ValueError("the job's name must not be empty")
    for name, value in grouping_key.items():
        if not is_valid_label_name(name) or name.startswith("__") or name == "job":
            raise InvalidLabelsError(
                grouping_key,
                f"{name!r}: letters, digits and '_', no digit and not '__' in front, and not 'job'",
            )
        _check_text(f"the grouping label {name}", value)
    return (("job", job), *sorted(grouping_key.items()))


def _check_text(what: str, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be text, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} contains half a character (a surrogate): {value!r}") from None


def group_path(template: str, group: Pairs) -> str:
    """Write a group into a path, percent-encoded.

    Args:
        template: A path in which ``{0}`` stands for the job, such as ``/metrics/job/{0}``; the other labels
            follow. A path without it is taken as VictoriaMetrics' import: labels go into the query.
        group: As ``check_group`` returns it.

    Spec:
        E82, E83, E91.

    Examples:
        >>> group_path("/metrics/job/{0}", (("job", "a b"), ("dir", "/in")))
        '/metrics/job/a%20b/dir@base64/L2lu'
        >>> group_path("/api/v1/import/prometheus", (("job", "j"),))
        '/api/v1/import/prometheus?extra_label=job%3Dj'
    """
    if _PLACE not in template:
        joint = "&" if "?" in template else "?"
        return template + joint + "&".join([_extra_label(name, text) for name, text in group])
    (_, job), *others = group
    place = _JOB_PLACE if _JOB_PLACE in template else _PLACE
    shown = _segment("job", job) if place == _JOB_PLACE else quote(job, safe="")
    return "/".join(
        [template.replace(place, shown, 1), *[_segment(name, text) for name, text in others]]
    )


def _extra_label(name: str, value: str) -> str:
    return f"extra_label={quote(f'{name}={value}', safe='')}"


def _segment(name: str, value: str) -> str:
    """Name and value as two parts of a path; in base64 where a server would not keep the value as it is."""
    if value in _CLEANED_AWAY or "/" in value:
        encoded = base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")
        return f"{name}@base64/{encoded or '='}"
    return f"{name}/{quote(value, safe='')}"
