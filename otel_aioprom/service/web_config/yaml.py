"""A YAML loader for untrusted input: safe types only, no duplicate keys, no merge keys, limited nesting."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any

from otel_aioprom.errors import MissingExtraError, WebConfigError

_EXTRA = "web-config"
_MAX_SHOWN = 60  # characters of a key or value in an error message
_MAX_DEPTH = 20  # of nested brackets; no setting needs more than three
_MERGE = "tag:yaml.org,2002:merge"


def parse(text: str, error_at: Callable[[str, str], WebConfigError]) -> object:
    """Return the value of a YAML document.

    Args:
        text: The document.
        error_at: Creates an error from a place and a reason.

    Raises:
        WebConfigError: It is no YAML, or uses an unsupported feature.
        MissingExtraError: PyYAML is not installed.
    """
    yaml, loader = _yaml()
    try:
        return yaml.load(text, loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "no YAML"
        # Not chained, here and below: the parser's own message quotes the file, which may hold secrets.
        raise error_at(f"line {mark.line + 1}" if mark else "", cut(reason)) from None
    except yaml.reader.ReaderError as error:
        where = f"line {text.count(chr(10), 0, error.position) + 1}"
        raise error_at(where, "a character that YAML does not allow") from None
    except RecursionError:
        raise error_at("", "nested too deeply") from None
    except Exception as error:  # noqa: BLE001 - malformed dates and numbers raise various errors
        reason = f"a value that its YAML type does not allow ({type(error).__name__})"
        raise error_at("", reason) from None


def require(module: str, package: str) -> Any:
    """Import a module of the extra ``web-config``.

    Args:
        module: Name of the module.
        package: Name of its package, for the error.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(package, _EXTRA) from error


def cut(text: str) -> str:
    """Return a string for an error message: on one line, truncated if it is long."""
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"


@cache
def _yaml() -> tuple[Any, type[Any]]:
    """Return the module, and a safe loader without duplicate keys and merge keys."""
    yaml = require("yaml", "PyYAML")
    construct: Callable[..., dict[Any, Any]] = yaml.SafeLoader.construct_mapping
    open_bracket: Callable[[Any, Any], None] = yaml.SafeLoader.fetch_flow_collection_start
    refusal = partial(yaml.constructor.ConstructorError, None, None)

    def construct_mapping(self: Any, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.tag == _MERGE:  # a small file could expand without limit
                raise refusal("merge keys (<<) are not supported", key.start_mark)
            if (key.tag, str(key.value)) in seen:
                raise refusal(f"duplicate key {cut(str(key.value))!r}", key.start_mark)
            seen.add((key.tag, str(key.value)))
        return construct(self, node, deep=deep)

    def fetch_flow_collection_start(self: Any, token: Any) -> None:
        # The scanner looks ahead over open brackets, which is slow for many of them.
        if self.flow_level >= _MAX_DEPTH:
            raise refusal("nested too deeply", self.get_mark())
        open_bracket(self, token)

    methods = {
        "construct_mapping": construct_mapping,
        "fetch_flow_collection_start": fetch_flow_collection_start,
    }
    return yaml, type("_Loader", (yaml.SafeLoader,), methods)
