"""Basic and Bearer authentication, with secrets in files that change."""

from __future__ import annotations

import base64
import hmac
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_aioprom._transport import credentials
from otel_aioprom._transport.credentials import (
    Authenticator,
    BasicAuth,
    BearerAuth,
    basic_credentials,
    file_signature,
)
from otel_aioprom.errors import MetricsError, SecretError


def basic(text: str, scheme: str = "Basic") -> str:
    """A header with a user name, a colon and a password."""
    return f"{scheme} {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("name", "password"), [("u", "p"), ("u", "a:b:"), ("ü", "pä ß"), ("", "p"), ("a b", " p ")]
)
def test_the_right_user_passes(name: str, password: str) -> None:
    """Names and passwords are UTF-8, and the password may contain colons (RFC 7617)."""
    assert BasicAuth(name, password).check(basic(f"{name}:{password}"))


@pytest.mark.parametrize("text", ["u:q", "v:p", "u:", ":p", ":", "u:pp", "U:p", "u:p:", "u", ""])
def test_a_wrong_user_does_not_pass(text: str) -> None:
    """Neither with half of it."""
    assert not BasicAuth("u", "p").check(basic(text))


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "bAsIc", "Basic "])
def test_the_scheme_is_of_any_case(scheme: str) -> None:
    """And more than one blank may follow it."""
    assert BasicAuth("u", "p").check(basic("u:p", scheme))


MALFORMED = [
    None,
    "",
    " ",
    "Basic",
    "Basic ",
    "Basic =",
    "Basic dTpw!",
    "Basic dTp",
    "Basic d T p w",
    "Basic dTpw dTpw",
    "Basic\tdTpw",
    "Basic dTpw\udcff",
    "Basic ü",
    "Ba\u017fiC dTpw",
    "dTpw",
    "u:p",
    "Bearer dTpw",
    "Bearer",
    "Bearer ",
    "\x00",
    "\ud800",
    "Basic " + "A" * 100_000,
]


@pytest.mark.parametrize("header", MALFORMED)
@pytest.mark.parametrize("auth", [BasicAuth("u", "p"), BearerAuth("t")])
def test_a_malformed_header_is_refused(auth: Authenticator, header: str | None) -> None:
    """Without an exception."""
    assert auth.check(header) is False


@given(
    st.text() | st.text().map("Basic {}".format) | st.binary().map(lambda raw: basic("") + str(raw))
)
def test_any_header_is_answered(header: str) -> None:
    """No client is authenticated without the secret, and no header raises."""
    assert BasicAuth("u", "secret").check(header) is False
    assert BearerAuth("secret-token").check(header) is False


@pytest.mark.parametrize(
    "header", ["Bearer t0k.en~+/=", "bearer t0k.en~+/=", "BEARER  t0k.en~+/= "]
)
def test_the_bearer_of_the_token_passes(header: str) -> None:
    """The scheme is of any case (RFC 6750)."""
    assert BearerAuth("t0k.en~+/=").check(header)


@pytest.mark.parametrize(
    "header", ["Bearer t", "Bearer token2", "Basic token", "token", "Bearer to ken"]
)
def test_another_token_does_not_pass(header: str) -> None:
    """Nor a part of it."""
    assert not BearerAuth("token").check(header)


def test_the_challenges_name_the_scheme() -> None:
    """A client learns which credentials are wanted; neither check is slow."""
    assert BasicAuth("u", "p").challenge == 'Basic realm="metrics", charset="UTF-8"'
    assert BearerAuth("t").challenge == 'Bearer realm="metrics"'
    assert (BasicAuth("u", "p").slow, BearerAuth("t").slow) == (False, False)


@pytest.mark.parametrize("header", [None, "Basic =", basic("v:q"), basic("u:p")])
def test_comparisons_take_all_of_it(monkeypatch: pytest.MonkeyPatch, header: str | None) -> None:
    """Name and password are compared each time, as digests of one length."""
    lengths: list[int] = []

    def compare(left: bytes, right: bytes) -> bool:
        lengths.extend((len(left), len(right)))
        return hmac.compare_digest(left, right)

    auth = BasicAuth("u", "p")
    monkeypatch.setattr(credentials, "hmac", type("Module", (), {"compare_digest": compare}))
    auth.check(header)

    assert lengths == [32] * 4


@pytest.mark.parametrize("both", [{}, {"password": "p", "password_file": "x"}])
def test_a_password_comes_from_one_place(both: dict[str, Any]) -> None:
    """Given or in a file, and not both."""
    with pytest.raises(TypeError, match="either password or password_file"):
        BasicAuth("u", **both)


@pytest.mark.parametrize("both", [{}, {"token": "t", "token_file": "x"}])
def test_a_token_comes_from_one_place(both: dict[str, Any]) -> None:
    """Given or in a file, and not both."""
    with pytest.raises(TypeError, match="either token or token_file"):
        BearerAuth(**both)


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("", "is empty"),
        ("a\nb", "control character"),
        ("a\x7f", "control character"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_password_that_no_client_sends_is_refused(secret: str, words: str) -> None:
    """At once, without telling it."""
    with pytest.raises(ValueError, match=words) as caught:
        BasicAuth("u", secret)

    assert "a\\n" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("secret", "words"), [("", "is empty"), ("a b", "ASCII"), ("ü", "ASCII"), ("a\n", "ASCII")]
)
def test_a_token_that_no_client_sends_is_refused(secret: str, words: str) -> None:
    """At once."""
    with pytest.raises(ValueError, match=words):
        BearerAuth(secret)


@pytest.mark.parametrize("name", ["a:b", "a\n", "\x00"])
def test_a_name_that_no_client_sends_is_refused(name: str) -> None:
    """A colon ends the name."""
    with pytest.raises(ValueError, match="username"):
        BasicAuth(name, "p")


def test_other_types_are_refused() -> None:
    """With their name."""
    with pytest.raises(TypeError, match="the username must be a string, not int"):
        BasicAuth(1, "p")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the password must be a string, not bytes"):
        BasicAuth("u", b"p")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the token must be a string, not int"):
        BearerAuth(1)  # type: ignore[arg-type]


def test_no_repr_contains_a_secret(tmp_path: Path) -> None:
    """Only where it comes from."""
    file = tmp_path / "secret"
    file.write_text("hidden")
    shown = [repr(BasicAuth("u", "hidden")), repr(BearerAuth("hidden"))]
    from_files = [repr(BasicAuth("u", password_file=file)), repr(BearerAuth(token_file=file))]

    assert shown == ["BasicAuth('u', ***)", "BearerAuth(***)"]
    assert all("secret" in text for text in from_files)
    assert not any("hidden" in text for text in shown + from_files)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_line_break_at_the_end_of_a_file_does_not_count(tmp_path: Path, end: str) -> None:
    """Editors put it there."""
    file = tmp_path / "secret"
    file.write_bytes(f"pä ss{end}".encode())

    assert BasicAuth("u", password_file=str(file)).check(basic("u:pä ss"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"hidden\n\n", "control character"),
        (b"x" * 70_000, "larger than 65536 bytes"),
    ],
)
def test_a_file_without_a_usable_secret_is_refused(
    tmp_path: Path, content: bytes, words: str
) -> None:
    """With path and reason, at construction."""
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(SecretError, match=words) as caught:
        BasicAuth("u", password_file=file)

    assert caught.value.path == str(file)
    assert words in caught.value.reason
    assert str(file) in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing", ".", "a\0b", "pipe"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    """A pipe too: nobody waits for who writes to it."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SecretError, match="no secret in") as caught:
        BearerAuth(token_file=f"{tmp_path}/{name}")

    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, MetricsError)


def test_an_empty_path_is_no_file() -> None:
    """As an empty environment variable gives it."""
    with pytest.raises(SecretError, match="No such file"):
        BearerAuth(token_file="")


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error without words of the system's is called by its class."""

    def refuse(*_: object) -> None:
        raise PermissionError

    file = tmp_path / "secret"
    file.write_text("hidden")
    monkeypatch.setattr(credentials, "open", refuse, raising=False)
    with pytest.raises(SecretError, match="PermissionError"):
        BearerAuth(token_file=file)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """The new secret is good, the old one no longer."""
    file = tmp_path / "secret"
    file.write_text("first")
    auth = BearerAuth(token_file=file)
    before = auth.check("Bearer first")
    file.write_text("other-one")

    assert before
    assert auth.check("Bearer other-one")
    assert not auth.check("Bearer first")


def test_a_secret_behind_a_swapped_link_is_read_again(tmp_path: Path) -> None:
    """As Kubernetes replaces a mounted secret: same size, same time, another file."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(f"token-{name}")
        os.utime(tmp_path / name / "secret", ns=(1, 1))
    data, link = tmp_path / "..data", tmp_path / "secret"
    data.symlink_to("one")
    link.symlink_to("..data/secret")
    auth = BearerAuth(token_file=link)
    before = auth.check("Bearer token-one")
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").replace(data)

    assert before
    assert auth.check("Bearer token-two")
    assert not auth.check("Bearer token-one")


def test_an_unchanged_file_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check costs one look at it."""
    file = tmp_path / "secret"
    file.write_text("token")
    auth = BearerAuth(token_file=file)
    monkeypatch.setattr(credentials, "_read", None)

    assert auth.check("Bearer token")


@pytest.mark.parametrize("header", [None, "Bearer token", "Bearer other"])
def test_nobody_is_authenticated_without_the_secret_file(
    tmp_path: Path, header: str | None
) -> None:
    """All get the same answer, until the file is back, even as it was before."""
    file, aside = tmp_path / "secret", tmp_path / "aside"
    file.write_text("token")
    auth = BearerAuth(token_file=file)
    file.rename(aside)
    for _ in range(2):
        with pytest.raises(SecretError, match="No such file"):
            auth.check(header)
    aside.rename(file)

    assert auth.check(header) is (header == "Bearer token")


def test_nobody_is_authenticated_with_an_empty_secret_file(tmp_path: Path) -> None:
    """Each check raises."""
    file = tmp_path / "secret"
    file.write_text("token")
    auth = BasicAuth("u", password_file=file)
    file.write_text("")
    for header in (basic("u:token"), basic("u:")):
        with pytest.raises(SecretError, match="is empty"):
            auth.check(header)


def test_a_header_of_another_scheme_has_no_user() -> None:
    """Nor has one without a colon."""
    assert basic_credentials(basic("u:p:q")) == (b"u", b"p:q")
    assert basic_credentials(basic("u")) is None
    assert basic_credentials("Bearer x") is None


def test_a_signature_is_of_the_file_behind_a_link(tmp_path: Path) -> None:
    """What changes with its content."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"abc")
    link.symlink_to(file)

    assert file_signature(link) == file_signature(str(file))
    assert file_signature(link).size == 3
