"""The web configuration file: settings, errors, and reloads."""

from __future__ import annotations

import base64
import importlib
import logging
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certificates import Pair, client_context, common_name, make_pair, shake_hands
from otel_aioprom.errors import MetricsError, MissingExtraError, WebConfigError
from otel_aioprom.service.web_config import WebConfig
from otel_aioprom.service.web_config import yaml as reading
from otel_aioprom.service.web_config.document import Document

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
OTHER = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
TLS = "tls_server_config: {cert_file: web.crt, key_file: web.key}\n"


def basic(text: str) -> str:
    """A header with a user name, a colon and a password."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Path of the configuration, not yet written."""
    return tmp_path / "web.yml"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Two certificates with their keys."""
    folder = tmp_path_factory.mktemp("pairs")
    return [make_pair(folder, "first"), make_pair(folder, "second")]


def install(pair: Pair, folder: Path) -> None:
    """Copy a certificate and its key to the paths in the configuration."""
    for source, name in zip(pair, ("web.crt", "web.key")):
        (folder / "new").write_bytes(source.read_bytes())
        (folder / "new").replace(folder / name)


def load(file: Path, text: str | bytes) -> WebConfig:
    """Write a configuration, and load it."""
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return WebConfig.load(file)


def served_name(config: WebConfig, pair: Pair) -> str:
    """Common name of the certificate that a client sees which trusts a pair."""
    assert config.ssl is not None
    return common_name(shake_hands(config.ssl, client_context(pair)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "---",
        "tls_server_config:",
        "tls_server_config: {}",
        "tls_server_config: {cert_file: }",
        "http_server_config: {http2: false}",
        "http_server_config: {http2: , headers: }",
        "basic_auth_users: {}",
        "basic_auth_users:",
        "\ufeffbasic_auth_users:",
    ],
)
def test_an_empty_configuration_configures_nothing(file: Path, text: str) -> None:
    """Plain HTTP without credentials."""
    config = load(file, text)

    assert (config.ssl, config.auth, config.headers) == (None, None, {})


def test_users_headers_and_certificates_are_read(file: Path, pairs: list[Pair]) -> None:
    """From a file as for Prometheus, with relative paths."""
    install(pairs[0], file.parent)
    config = load(
        file,
        f"""
tls_server_config:
  cert_file: web.crt
  key_file: {file.parent}/web.key
  min_version: TLS13
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: "default-src 'none'"
    X-Frame-Options: sameorigin
    X-Content-Type-Options: nosniff
    X-XSS-Protection: 0
    Strict-Transport-Security: ""
basic_auth_users:
  alice: {HASH}
""",
    )

    assert config.auth is not None
    assert config.auth.slow
    assert config.auth.check(basic("alice:secret"))
    assert not config.auth.check(basic("alice:other"))
    assert config.headers == {
        "Content-Security-Policy": "default-src 'none'",
        "X-Frame-Options": "sameorigin",
        "X-Content-Type-Options": "nosniff",
        "X-XSS-Protection": "0",
    }
    assert served_name(config, pairs[0]) == "first"


HEADERS = "http_server_config: {headers: {%s}}"
USERS = "basic_auth_users: {%s}"


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("tls_server_confg: {}", "tls_server_confg", "did you mean 'tls_server_config'"),
        ("x: {}", "x", "known are tls_server_config, http_server_config, basic_auth_users"),
        ("rate_limit: {burst: 1}", "rate_limit", "leave it out"),
        ("[1]", "", "must be a mapping, not a list"),
        ("text", "", "must be a mapping, not text"),
        ("true", "", "must be a mapping, not true or false"),
        ("2020-01-01", "", "must be a mapping, not a date"),
        ("1: {}", "", "a key must be text, not a number: put it in quotes"),
        ("? {} \n: 1", "line 1", "unhashable"),
        ('"a\\nb": 1', "a\\nb", "unknown"),
        ('"\\uD800": 1', "\\ud800", "unknown"),
        (f"{'k' * 99}: 1", f"{'k' * 60}…", "unknown"),
        ("http_server_config: []", "http_server_config", "must be a mapping, not a list"),
        ("http_server_config: {http2: true}", "http_server_config.http2", "only HTTP/1.1"),
        ("http_server_config: {http2: 1}", "http_server_config.http2", "not a number"),
        ("http_server_config: {http: 1}", "http_server_config.http", "did you mean 'http2'"),
        (HEADERS % "Server: x", "http_server_config.headers.Server", "unknown"),
        (HEADERS % "x-frame-options: x", "http_server_config.headers.x-frame-options", "did you"),
        (
            HEADERS % "X-Frame-Options: DENY",
            "http_server_config.headers.X-Frame-Options",
            "deny or",
        ),
        (
            HEADERS % "X-XSS-Protection: 2",
            "http_server_config.headers.X-XSS-Protection",
            "a number",
        ),
        (HEADERS % "X-XSS-Protection: true", "http_server_config.headers.X-XSS-Protection", "text"),
        (
            HEADERS % 'X-XSS-Protection: "a\\r\\nb"',
            "http_server_config.headers.X-XSS-Protection",
            "one line",
        ),
        (HEADERS % "X-XSS-Protection: ü", "http_server_config.headers.X-XSS-Protection", "ASCII"),
        (USERS % "alice: hidden", "basic_auth_users.alice", "no bcrypt hash"),
        (USERS % "alice: ", "basic_auth_users.alice", "must be text, not nothing"),
        (USERS % "alice: 1", "basic_auth_users.alice", "must be text, not a number"),
        (USERS % "1: x", "basic_auth_users", "put it in quotes"),
        (USERS % "'a:b': x", "basic_auth_users.'a:b'", "no colon"),
        (USERS % '"a\\uD800": x', "basic_auth_users.'a\\ud800'", "no control character"),
        (USERS % f"alice: {HASH[:-1]}", "basic_auth_users.alice", "no bcrypt hash"),
        (USERS % f"alice: {HASH}x", "basic_auth_users.alice", "no bcrypt hash"),
        (USERS % f"alice: {HASH.replace('$04$', '$03$')}", "basic_auth_users.alice", "no bcrypt"),
        (USERS % f"alice: {HASH.replace('$2y$', '$5$')}", "basic_auth_users.alice", "no bcrypt"),
        (USERS % f'alice: "{HASH}\\n"', "basic_auth_users.alice", "no bcrypt hash"),
        ("a: 1\nb: [", "line 2", "expected the node content"),
        ("a:\n\tb", "line 2", "cannot start any token"),
        ("a: *b", "line 1", "undefined alias"),
        ("a: 1\n---\nb: 2", "line 2", "but found another document"),
        ("a: !x 1", "line 1", "constructor for the tag '!x'"),
        ("x:\n  a: 1\n  a: 2", "line 3", "duplicate key 'a'"),
        ("b: &b {c: 1}\nx: {<<: *b}", "line 2", "merge keys"),
        ("\n\n\x01", "line 3", "a character that YAML does not allow"),
        (b"a: 1\n\xff", "line 2", "no UTF-8"),
        ("- " * 5000, "", "nested too deeply"),
        ("[" * 500_000, "line 1", "nested too deeply"),
        ("{a: " * 200_000, "line 1", "nested too deeply"),
        ("a: 2020-99-99", "", "(ValueError)"),
        ("a: !!bool x", "", "(KeyError)"),
        ("a: !!int ''", "", "(IndexError)"),
        ("a: !!timestamp x", "", "(AttributeError)"),
        ("!!map x", "line 1", "expected a mapping node"),
        ("a: !!map [[1, 2]]", "line 1", "expected a mapping node"),
        ("x" * (1024 * 1024 + 1), "", "larger than 1048576 bytes"),
    ],
)
def test_invalid_content_raises(file: Path, text: str | bytes, where: str, words: str) -> None:
    """The error has path, place and reason, and no secrets."""
    with pytest.raises(WebConfigError) as caught:
        load(file, text)

    assert caught.value.where == where
    assert words in caught.value.reason
    assert str(caught.value).startswith(f"{file}: {where and f'{where}: '}")
    assert "hidden" not in str(caught.value)
    assert HASH[10:-1] not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"), [("missing", "No such file"), (".", "regular"), ("a\0", "name")]
)
def test_a_path_that_is_no_file_raises(tmp_path: Path, name: str, words: str) -> None:
    """The error is a ``ValueError`` too."""
    with pytest.raises(WebConfigError, match=words) as caught:
        WebConfig.load(f"{tmp_path}/{name}")

    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, MetricsError)


def test_a_file_without_permission_raises(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's reason."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    file.touch()
    with pytest.raises(WebConfigError, match="Permission denied"):
        WebConfig.load(file)


def test_a_yaml_bomb_ends_at_once(file: Path) -> None:
    """Neither aliases nor merge keys expand exponentially."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    with pytest.raises(WebConfigError, match="a0: unknown"):
        load(file, "\n".join(lines))
    lines = ["a0: &a0 {k: v}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 40)]
    with pytest.raises(WebConfigError, match="merge keys"):
        load(file, "\n".join(lines))


def test_a_parser_error_without_a_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our error names the file."""
    yaml, _ = reading._yaml()

    def fail(*_: object) -> Any:
        raise yaml.MarkedYAMLError

    monkeypatch.setattr(yaml, "load", fail)
    with pytest.raises(WebConfigError, match=r"web.yml: no YAML$"):
        load(file, "a: 1")


_WORDS = st.sampled_from(
    [
        "tls_server_config",
        "http_server_config",
        "headers",
        "basic_auth_users",
        "cert_file",
        "&a",
        "*a",
        "<<",
        "!!int",
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | _WORDS,
    lambda inner: st.lists(inner) | st.dictionaries(_WORDS | st.text(), inner),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary()
    | st.lists(
        _WORDS | st.sampled_from([": ", "\n", "  ", "- ", "[", "{", "}", ",", "'", '"', "? "])
    ).map(lambda words: "".join(words).encode())
    | _VALUES.map(lambda value: str(value).encode("utf-8", "replace"))
)
def test_any_content_is_a_configuration_or_an_error(file: Path, content: bytes) -> None:
    """Never another exception."""
    try:
        config = load(file, content)
    except WebConfigError as error:
        assert error.reason  # noqa: PT017 - both outcomes are valid
    else:
        assert config.ssl is None


@pytest.mark.parametrize(
    ("module", "package", "text"),
    [("yaml", "PyYAML", ""), ("bcrypt", "bcrypt", f"basic_auth_users: {{a: {HASH}}}")],
)
def test_a_missing_package_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, module: str, package: str, text: str
) -> None:
    """With the extra to install."""

    def missing(name: str) -> Any:
        if name == module:
            raise ImportError(name)
        return importlib.import_module(name)

    monkeypatch.setattr(reading, "import_module", missing)
    reading._yaml.cache_clear()
    with pytest.raises(MissingExtraError) as caught:
        load(file, text)

    assert str(caught.value) == f"{package} is not installed: pip install otel-aioprom[web-config]"
    assert isinstance(caught.value, ImportError)


def test_unchanged_files_are_not_reloaded(
    file: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only their signatures are compared."""
    install(pairs[0], file.parent)
    config = load(file, TLS)
    monkeypatch.setattr(Document, "read", None)

    assert not config.refresh()


def test_a_rotated_certificate_applies_to_new_connections(file: Path, pairs: list[Pair]) -> None:
    """With the same context object."""
    install(pairs[0], file.parent)
    config = load(file, TLS)
    context, before = config.ssl, served_name(config, pairs[0])
    install(pairs[1], file.parent)
    refreshed = config.refresh()

    assert (before, refreshed) == ("first", True)
    assert config.ssl is context
    assert served_name(config, pairs[1]) == "second"
    assert not config.refresh()


def test_a_half_rotated_certificate_changes_nothing(
    file: Path, pairs: list[Pair], caplog: pytest.LogCaptureFixture
) -> None:
    """Until its key is there too; the error is logged once."""
    install(pairs[0], file.parent)
    config = load(file, TLS)
    (file.parent / "web.crt").write_bytes(pairs[1].certificate.read_bytes())
    results = [config.refresh(), config.refresh()]
    os.utime(file, ns=(1, 1))
    results.append(config.refresh())
    between = served_name(config, pairs[0])
    install(pairs[1], file.parent)
    results.append(config.refresh())

    assert results == [False, False, False, True]
    assert between == "first"
    assert served_name(config, pairs[1]) == "second"
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "the settings stay unchanged" in errors[0].getMessage()
    assert "KEY VALUES MISMATCH" in errors[0].getMessage()


def test_a_missing_file_that_appears_is_noticed(file: Path, pairs: list[Pair]) -> None:
    """Even if only the new configuration names it."""
    install(pairs[0], file.parent)
    config = load(file, TLS)
    file.write_text(TLS.replace("web.crt", "new.crt").replace("web.key", "new.key"))
    first = config.refresh()
    for source, name in zip(pairs[1], ("new.crt", "new.key")):
        (file.parent / name).write_bytes(source.read_bytes())

    assert not first
    assert config.refresh()
    assert served_name(config, pairs[1]) == "second"


def test_new_users_and_headers_apply_to_the_next_request(file: Path) -> None:
    """With the same authenticator object; cached passwords are no longer valid."""
    config = load(file, f"basic_auth_users: {{alice: {HASH}}}")
    auth = config.auth
    assert auth is not None
    before = auth.check(basic("alice:secret"))
    file.write_text(f"basic_auth_users: {{bob: {OTHER}}}\n" + HEADERS % "X-Frame-Options: deny")
    refreshed = config.refresh()

    assert (before, refreshed) == (True, True)
    assert config.auth is auth
    assert [auth.check(basic(text)) for text in ("alice:secret", "bob:other")] == [False, True]
    assert config.headers == {"X-Frame-Options": "deny"}


def test_an_invalid_file_changes_nothing(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each error is logged once, and again if the file was valid in between."""
    good, bad = f"basic_auth_users: {{alice: {HASH}}}", "basic_auth_users: ["
    config = load(file, good)
    assert config.auth is not None
    results, allowed = [], []
    for text in (bad, f"{bad} ", "x: 1", good, bad):
        file.write_text(text)
        results.append(config.refresh())
        allowed.append(config.auth.check(basic("alice:secret")))
    file.unlink()
    results.append(config.refresh())

    assert results == [False, False, False, True, False, False]
    assert allowed == [True] * 5
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 4
    assert "No such file" in errors[-1]


@pytest.mark.parametrize("removed", [True, False])
@pytest.mark.parametrize(
    ("section", "text"),
    [("tls_server_config", TLS), ("basic_auth_users", f"basic_auth_users: {{alice: {HASH}}}")],
)
def test_tls_and_users_cannot_be_added_or_removed(
    file: Path,
    pairs: list[Pair],
    caplog: pytest.LogCaptureFixture,
    section: str,
    text: str,
    removed: bool,
) -> None:
    """The socket keeps its protocol, and a file emptied by mistake admits nobody."""
    install(pairs[0], file.parent)
    config = load(file, text if removed else "")
    file.write_text("" if removed else text)

    assert not config.refresh()
    assert (config.ssl is not None) is (removed and section == "tls_server_config")
    assert (config.auth is not None) is (removed and section == "basic_auth_users")
    assert f"{section}: cannot be added or removed" in caplog.text


def test_a_concurrent_refresh_does_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for the first."""
    config = load(file, "")
    inner: list[bool] = []
    file.write_text(HEADERS % "X-Frame-Options: deny")

    def changed() -> Iterator[bool]:
        inner.append(config.refresh())
        yield True

    monkeypatch.setattr(config, "_has_changed", lambda: next(changed()))

    assert config.refresh()
    assert inner == [False]


def test_the_context_is_an_ssl_context(file: Path, pairs: list[Pair]) -> None:
    """Servers check the type."""
    install(pairs[0], file.parent)

    assert isinstance(load(file, TLS).ssl, ssl.SSLContext)
