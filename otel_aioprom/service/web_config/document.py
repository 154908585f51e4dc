"""Typed access to the sections and settings of a web configuration file."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

from otel_aioprom._transport.credentials import FileSignature, file_signature
from otel_aioprom.errors import WebConfigError
from otel_aioprom.service.web_config.yaml import cut, parse

_MAX_SIZE = 1024 * 1024  # bytes; a larger file is no configuration
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "nothing"),
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    (list, "a list"),
    (dict, "a mapping"),
)

_T = TypeVar("_T")


class Document:
    """One file, with the files that it names.

    Attributes:
        path: The file.
        files: Signature of each file, taken before it was read; ``None`` if it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.files: dict[Path, FileSignature | None] = {}

    def error(self, where: str, reason: str) -> WebConfigError:
        """Return an error about this file."""
        return WebConfigError(str(self.path), where, reason)

    def read(self, keys: Collection[str], unsupported: Mapping[str, str]) -> Section:
        """Read the file.

        Args:
            keys: The allowed keys.
            unsupported: Keys that are known but not supported, with the reasons.

        Raises:
            WebConfigError: The file cannot be read, is no YAML, or has other keys.
            MissingExtraError: PyYAML is not installed.
        """
        content = self._content()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            # Not chained: the error holds the file's content, which may have secrets.
            raise self.error(f"line {line}", "this is no UTF-8") from None
        return Section(self, "", parse(text, self.error), keys, unsupported)

    def _content(self) -> bytes:
        self.watch(self.path, "")
        try:
            with self.path.open("rb") as file:
                content = file.read(_MAX_SIZE + 1)
        except OSError as error:
            raise self.error("", reason_of(error)) from error
        if len(content) > _MAX_SIZE:
            raise self.error("", f"the file is larger than {_MAX_SIZE} bytes")
        return content

    def watch(self, path: Path, where: str) -> None:
        """Record the signature of a file before it is read.

        Args:
            path: The file.
            where: Dotted key that names the file; empty for the configuration itself.

        Raises:
            WebConfigError: There is no such file.
        """
        self.files[path] = None
        try:
            self.files[path] = file_signature(path)
        except OSError as error:
            prefix = f"{str(path)!r}: " if where else ""
            raise self.error(where, f"{prefix}{reason_of(error)}") from error


class Section:
    """A mapping in the file, with its allowed keys.

    Args:
        document: The file.
        where: Dotted key of the section; empty for the whole file.
        value: The parsed value.
        keys: The allowed keys; none allow any key.
        unsupported: Keys that are known but not supported, with the reasons.

    Raises:
        WebConfigError: The value is no mapping, or has other keys.
    """

    def __init__(
        self,
        document: Document,
        where: str,
        value: object,
        keys: Collection[str],
        unsupported: Mapping[str, str],
    ) -> None:
        self.document = document
        self._where = where
        values = {} if value is None else value
        if not isinstance(values, dict):
            raise document.error(where, f"must be a mapping, not {_kind(value)}")
        self.values = values
        for key in values:
            self._check_key(key, keys, unsupported)

    def _check_key(
        self, key: object, keys: Collection[str], unsupported: Mapping[str, str]
    ) -> None:
        if not isinstance(key, str):
            reason = f"a key must be text, not {_kind(key)}: put it in quotes"
            raise self.document.error(self._where, reason)
        if key in unsupported:
            raise self.error(key, unsupported[key])
        if keys and key not in keys:
            raise self.error(cut(key), f"unknown; {_suggest(key, keys)}")

    def error(self, key: str, reason: str) -> WebConfigError:
        """Return an error about a key of this section."""
        return self.document.error(self._at(key), reason)

    def _at(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def section(
        self, key: str, keys: Collection[str], unsupported: Mapping[str, str] | None = None
    ) -> Section:
        """Return the section of a key, empty if it is absent; arguments as for the constructor."""
        return Section(self.document, self._at(key), self.values.get(key), keys, unsupported or {})

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {_kind(value)}")
        return value

    def text(self, key: str) -> str:
        """Return a string, empty if the key is absent."""
        value = self.values.get(key)
        return "" if value is None else self.as_text(key, value)

    def texts(self, key: str) -> list[str]:
        """Return a list of strings, empty if the key is absent."""
        values = self.values.get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            raise self.error(key, f"must be a list, not {_kind(values)}")
        return [self.as_text(f"{key}[{place}]", value) for place, value in enumerate(values)]

    def choice(self, key: str, choices: Mapping[str, _T], default: str) -> _T:
        """Return the value of a choice by its name."""
        return self._chosen(key, self.text(key) or default, choices)

    def choices(self, key: str, choices: Mapping[str, _T]) -> list[_T]:
        """Return the values of a list of choices by their names."""
        names = self.texts(key)
        return [self._chosen(f"{key}[{at}]", name, choices) for at, name in enumerate(names)]

    def file(self, key: str) -> Path | None:
        """Return the path of an existing file; relative ones start at the configuration's folder."""
        name = self.text(key)
        if not name:
            return None
        path = self.document.path.parent / name
        self.document.watch(path, self._at(key))
        return path

    def as_text(self, key: str, value: object) -> str:
        """Return a value that is a string; raise ``WebConfigError`` for any other type."""
        if not isinstance(value, str):
            raise self.error(key, f"must be text, not {_kind(value)}")
        return value

    def _chosen(self, key: str, name: str, choices: Mapping[str, _T]) -> _T:
        if name not in choices:
            raise self.error(key, f"{cut(name)!r} is unknown; {_suggest(name, choices)}")
        return choices[name]


def reason_of(error: OSError) -> str:
    """Return the system's message of an error."""
    return error.strerror or type(error).__name__


def _suggest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(cut(name), known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


def _kind(value: object) -> str:
    names = (name for kind, name in _KINDS if isinstance(value, kind))
    return next(names, f"a {type(value).__name__}")
