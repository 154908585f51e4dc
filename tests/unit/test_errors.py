"""Errors say what is wrong and what would be right."""

from __future__ import annotations

import pytest

from otel_aioprom import errors


@pytest.mark.parametrize(
    ("error", "builtin", "words"),
    [
        (errors.InvalidNameError("a b", "use letters"), ValueError, ("'a b'", "use letters")),
        (errors.InvalidLabelsError({"a-b": 1}, "no dash"), ValueError, ("'a-b'", "no dash")),
        (errors.DuplicateCollectorError("x", "x"), ValueError, ("'x'", "another collector")),
        (errors.DuplicateCollectorError("x_sum", "x"), ValueError, ("'x_sum'", "'x'")),
        (errors.TranslationError("m", "no letter"), ValueError, ("'m'", "no letter")),
        (errors.GatherError(["a: late", "b: raised"]), RuntimeError, ("a: late; b: raised",)),
        (errors.SlowReaderError(2.5), ConnectionError, ("2.5 s",)),
        (errors.SecretError("/run/token", "no such file"), OSError, ("/run/token", "no such file")),
        (errors.WebConfigError("w.yml", "a.b", "no"), ValueError, ("w.yml", "a.b", "no")),
        (
            errors.MissingExtraError("yaml", "web-config"),
            ImportError,
            ("otel-aioprom[web-config]",),
        ),
        (errors.ServiceStartError("h:1", "in use"), OSError, ("h:1", "in use")),
        (errors.ServiceNotRunningError("start it"), RuntimeError, ("start it",)),
    ],
)
def test_errors_are_of_a_known_kind(
    error: errors.MetricsError, builtin: type[Exception], words: tuple[str, ...]
) -> None:
    """Each is a builtin error too, and tells all it knows."""
    assert isinstance(error, builtin)
    assert isinstance(error, errors.MetricsError)
    assert all(word in str(error) for word in words)
