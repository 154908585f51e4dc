"""YAML from hands that may be careless or worse: safe types, no key twice, nothing that multiplies."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any

from otel_aioprom.errors import MissingExtraError, WebConfigError

_EXTRA = "web-config"
_SHOWN = 60  # characters of a key or value that an error shows
_DEEPEST = 20  # brackets in brackets; no setting needs more than three
_MERGE = "tag:yaml.org,2002:merge"


def parse(text: str, error_at: Callable[[str, str], WebConfigError]) -> object:
    """Return what a YAML text holds.

    Args:
        text: The text.
        error_at: Makes an error of a place and a reason.

    Raises:
        WebConfigError: It is no YAML, or uses what no configuration needs.
        MissingExtraError: There is nothing that reads YAML.
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
    except Exception as error:  # noqa: BLE001 - a day 99 or a malformed number raise what they like
        reason = f"a value that its YAML type does not allow ({type(error).__name__})"
        raise error_at("", reason) from None


def require(module: str, package: str) -> Any:
    """Import what an extra brings.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(package, _EXTRA) from error


def cut(text: str) -> str:
    """Return a text as an error shows it: on one line, and not all of a long one."""
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


@cache
def _yaml() -> tuple[Any, type[Any]]:
    """The module, and a safe loader that takes no key twice and nothing that multiplies."""
    yaml = require("yaml", "PyYAML")
    construct: Callable[..., dict[Any, Any]] = yaml.SafeLoader.construct_mapping
    open_bracket: Callable[[Any, Any], None] = yaml.SafeLoader.fetch_flow_collection_start
    refusal = partial(yaml.constructor.ConstructorError, None, None)

    def construct_mapping(self: Any, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.tag == _MERGE:  # these can make a small file grow without end
                raise refusal("merge keys (<<) are not served", key.start_mark)
            if (key.tag, str(key.value)) in seen:
                raise refusal(f"{cut(str(key.value))!r} stands here a second time", key.start_mark)
            seen.add((key.tag, str(key.value)))
        return construct(self, node, deep=deep)

    def fetch_flow_collection_start(self: Any, token: Any) -> None:
        # The scanner looks ahead over open brackets, which takes very long for very many of them.
        if self.flow_level >= _DEEPEST:
            raise refusal("nested too deeply", self.get_mark())
        open_bracket(self, token)

    methods = {
        "construct_mapping": construct_mapping,
        "fetch_flow_collection_start": fetch_flow_collection_start,
    }
    return yaml, type("_Loader", (yaml.SafeLoader,), methods)
