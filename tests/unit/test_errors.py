"""Error classes: their bases, messages, attributes and pickles."""

from __future__ import annotations

import copy
import pickle

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
        (errors.ConfigurationError("a.b", "no"), ValueError, ("a.b", "no")),
        (errors.PushError("h", None, "cut"), ConnectionError, ("h", "no response", "cut")),
        (errors.PushError("h", 500, "no"), ConnectionError, ("h", "status 500", "no")),
        (errors.SpoolError("/spool", "full"), OSError, ("/spool", "full")),
        (errors.TranslationError(metric="m", reason="{r}"), ValueError, ("'m'", "{r}")),
    ],
)
def test_errors(
    error: errors.MetricsError, builtin: type[Exception], words: tuple[str, ...]
) -> None:
    """Each is a builtin error too, says all it knows, and can be copied and pickled."""
    assert isinstance(error, builtin)
    assert isinstance(error, errors.MetricsError)
    assert all(word in str(error) for word in words)
    for same in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - its own
        assert (type(same), str(same), vars(same)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), (("a",), {}), (("a", "b", "c"), {}), (("a",), {"name": "b"}), (("a",), {"x": "b"})],
)
def test_an_error_needs_exactly_its_attributes(
    values: tuple[str, ...], named: dict[str, str]
) -> None:
    """Too few, too many, twice the same and unknown ones are a TypeError that names them."""
    with pytest.raises(TypeError, match="InvalidNameError takes name, reason"):
        errors.InvalidNameError(*values, **named)
