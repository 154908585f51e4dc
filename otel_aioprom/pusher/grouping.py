"""Grouping key of a push: the job and further labels, validated and encoded into a URL."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import quote

from yarl import URL

from otel_aioprom._core.labels import Pairs
from otel_aioprom._core.names import is_valid_label_name
from otel_aioprom._transport.delivery import redacted
from otel_aioprom.errors import InvalidLabelsError

_JOB_SEGMENTS = "job/{0}"
_PLACEHOLDER = "{0}"
_REMOVED_SEGMENTS = ("", ".", "..")
"""Path segments that servers remove when they normalize a path, percent-encoded or not."""


def check_group(job: str, grouping_key: Mapping[str, str]) -> Pairs:
    """Validate a grouping key, and return its labels: the job first, the others sorted by name.

    Args:
        job: Any string except the empty one.
        grouping_key: Labels besides the job; values may be any string.

    Raises:
        TypeError: A value is no string.
        ValueError: The job is empty, or a string is not valid Unicode: such a push would break the whole gateway.
        InvalidLabelsError: A label name is malformed, reserved, or ``job``.

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
                f"{name!r}: letters, digits and '_', not starting with a digit or '__', and not 'job'",
            )
        _check_text(f"the grouping label {name}", value)
    return (("job", job), *sorted(grouping_key.items()))


def _check_text(what: str, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} contains a lone surrogate: {value!r}") from None


def group_path(template: str, group: Pairs) -> str:
    """Encode a grouping key into a URL path, percent-encoded.

    Args:
        template: A path with the placeholder ``{0}`` for the job, such as ``/metrics/job/{0}``; the other labels
            follow. Without the placeholder, the labels go into the query, as for VictoriaMetrics' import.
        group: As ``check_group`` returns it.

    Spec:
        E82, E83, E91.

    Examples:
        >>> group_path("/metrics/job/{0}", (("job", "a b"), ("dir", "/in")))
        '/metrics/job/a%20b/dir@base64/L2lu'
        >>> group_path("/api/v1/import/prometheus", (("job", "j"),))
        '/api/v1/import/prometheus?extra_label=job%3Dj'
    """
    if _PLACEHOLDER not in template:
        query = [f"extra_label={quote(f'{name}={value}', safe='')}" for name, value in group]
        return template + ("&" if "?" in template else "?") + "&".join(query)
    (_, job), *others = group
    if _JOB_SEGMENTS in template:
        path = template.replace(_JOB_SEGMENTS, _segments("job", job), 1)
    else:
        path = template.replace(_PLACEHOLDER, quote(job, safe=""), 1)
    return "/".join([path, *[_segments(name, value) for name, value in others]])


def _segments(name: str, value: str) -> str:
    """Return two path segments, name and value; in base64 where a server would change the value."""
    if value in _REMOVED_SEGMENTS or "/" in value:
        encoded = base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")
        return f"{name}@base64/{encoded or '='}"
    return f"{name}/{quote(value, safe='')}"


def join_url(addr: str, path: str) -> URL:
    """Return the URL of a path on a server; the path is not encoded again.

    Raises:
        ValueError: ``addr`` is no URL of a server, or ``path`` does not begin with a slash.
    """
    base = URL(addr)
    if base.scheme not in {"http", "https"} or not base.host or base.query_string or base.fragment:
        raise ValueError(
            f"addr must be a URL such as 'http://localhost:9091', not {redacted(base)!r}"
        )
    if not path.startswith("/"):
        raise ValueError(f"path must begin with a slash, not be {path!r}")
    return URL(str(base).rstrip("/") + path, encoded=True)
