"""Mostly plausible inputs: a grammar of requests and configurations, with random damage.

Bytes by pure chance end at a server's first check. What gets far is nearly right.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from accept_headers import PROTO, RECORDED

T = TypeVar("T")


class Draw(Protocol):
    """The source of choices."""

    def below(self, limit: int) -> int:
        """A number from 0 on."""


class ByChance:
    """Choices of a seeded random generator."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed).random  # noqa: S311 - not for secrets

    def below(self, limit: int) -> int:
        """A number from 0 on."""
        return int(self._random() * limit)


class ByBytes:
    """Choices from bytes, for coverage-guided tools; at their end, always the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def below(self, limit: int) -> int:
        """A number from 0 on."""
        number = next(self._data, 0)
        return (number << 8 | next(self._data, 0)) % limit if limit > 256 else number % limit


def pick(draw: Draw, *these: T) -> T:
    """One of these."""
    return these[draw.below(len(these))]


def some(draw: Draw, most: int, make: Callable[[Draw], T]) -> list[T]:
    """A few, or none."""
    return [make(draw) for _ in range(draw.below(most + 1))]


def seldom(draw: Draw, one_in: int = 8) -> bool:
    """Rarely true; the first choice is false."""
    return draw.below(one_in) == one_in - 1


# --- bytes and characters --------------------------------------------------------------

_BYTES = (
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\xff", b"\xc3\xa9", b"%", b"%00", b"%zz", b"%ff", b"%0d%0a", b'"', b"\\", b",",
    b";", b"=", b":", b"/", b"?", b"#", b"&", b"*", b"+", b"-", b"0", b"A" * 300, b"..", b"name[]=", b"\x7f", b"\x1b[0m",
)  # fmt: skip
_TEXTS = (
    "", "a", "le", "quantile", "job", "__name__", "a.b", "a-b", "a_b", "total", "_total", "_", ":", "1", "ä", "日本", "\ud800", "\udfff",
    "\U0001f600", "\0", "\r", "\n", "\r\n", "\t", "\x85", "\u2028", "\x1c", "\x0b", "\x0c", " ", '"', "\\", "\\n", "{", "}", "#", " # ",
    "# EOF", ",", "=", "+Inf", "NaN", "x" * 300, '{a="b"} 1', "\n# TYPE x gauge\nx 1\n", "\ufeff", "\xa0", "\u200b", "U__", "%", "\x7f",
)  # fmt: skip


def damaged(draw: Draw, data: bytes) -> bytes:
    """Mostly unchanged; otherwise with a part deleted, inserted, duplicated or truncated."""
    while seldom(draw, 6):
        place, end = draw.below(len(data) + 1), draw.below(len(data) + 1)
        piece = pick(draw, *_BYTES)
        data = pick(
            draw,
            data[:place] + piece + data[place:],
            data[:place] + data[place + 1 :],
            data[:place] + piece + data[place + len(piece) :],
            data[:place] + data[place:end] * 2 + data[end:],
            data[:place],
        )
    return data


def odd_text(draw: Draw) -> str:
    """Characters of any kind, lone surrogates included."""
    return "".join(some(draw, 4, lambda _: pick(draw, *_TEXTS)))


# --- headers ---------------------------------------------------------------------------

_TYPES = ("text/plain", "application/openmetrics-text", PROTO, "text/*", "*/*", "application/json", "TEXT/Plain", "text", "/")  # fmt: skip
_PARAMETERS = (
    "version=0.0.4", "version=1.0.0", "version=0.0.1", "version=2.0.0", 'version="1.0.0"', "charset=utf-8", "escaping=allow-utf-8",
    "escaping=dots", "escaping=values", "escaping=underscores", "escaping=x", "q=0.5", "q=0", "q=1.000", "q=nan", "q=-1", "q=1e999",
    "q=", "q", "Q=0.1", ' q = "0.3" ', "encoding=text", 'a="\\', 'a="b,c;d"', "=", "",
)  # fmt: skip
_CODINGS = ("gzip", "zstd", "identity", "*", "br", "GZIP", "x-gzip", "deflate", "")


def accept(draw: Draw) -> str:
    """An ``Accept`` header."""
    if not seldom(draw, 4):
        return pick(draw, *RECORDED).accept
    return _listed(draw, _TYPES, _PARAMETERS)


def accept_encoding(draw: Draw) -> str:
    """An ``Accept-Encoding`` header."""
    return _listed(draw, _CODINGS, ("q=0.5", "q=0", "q=1", "q=nan", "q=", "x"))


def _listed(draw: Draw, words: Sequence[str], parameters: Sequence[str]) -> str:
    parts = [
        ";".join([pick(draw, *words), *some(draw, 2, lambda _: pick(draw, *parameters))])
        for _ in range(1 + draw.below(4))
    ]
    many = 200 if seldom(draw, 40) else 1
    return pick(draw, ",", ", ", " ,").join(parts * many)


def authorization(draw: Draw) -> str:
    """An ``Authorization`` header; sometimes the right one (user ``u``, password ``p``; token ``t``)."""
    pair = pick(draw, b"u:p", b"u:p:p", b":p", b"u:", b"u", b"\xff:\0", b"x:p", b":" * 300)
    encoded = base64.b64encode(pair).decode()
    scheme = pick(draw, "Basic", "Bearer", "basic", "BEARER", "Digest", "")
    value = pick(draw, encoded, "t", encoded.rstrip("="), encoded[:-1], "=", "é", "t t", "\t")
    return scheme + pick(draw, " ", "  ", "", "\t") + value


def query(draw: Draw) -> bytes:
    """A query string, mostly with names of families."""
    names = (
        b"c_total",
        b"h",
        b"h_bucket",
        b"g",
        b"nothing",
        b"%63_total",
        b"%ff",
        b"%00",
        b"",
        b"otel_aioprom_scrapes_total",
        b"c%5Ftotal+",
    )
    keys = (b"name[]", b"name%5B%5D", b"name%5b]", b"name", b"", b"x")
    pairs = some(
        draw, 3, lambda _: pick(draw, *keys) + pick(draw, b"=", b"=", b"") + pick(draw, *names)
    )
    many = 300 if seldom(draw, 60) else 1
    return damaged(draw, pick(draw, b"&", b";", b"&&").join(pairs * many))


def timeout(draw: Draw) -> str:
    """A scrape timeout header."""
    return pick(
        draw,
        "10",
        "0.5",
        "1e9",
        "-1",
        "nan",
        "inf",
        "1e999",
        "0",
        "",
        "x",
        "1_0",
        "\u0661",
        " 5 ",
        "0x1",
    )


# --- requests --------------------------------------------------------------------------

METHODS = (b"POST", b"PUT", b"OPTIONS", b"CONNECT", b"TRACE", b"get", b"G\xff", b"")
PATHS = (
    b"/metrics", b"/metrics", b"/metrics", b"/metrics/", b"/guarded", b"/guarded", b"/token", b"/some", b"/", b"/robots.txt", b"/-/ready",
    b"/-/healthy", b"/nowhere", b"/metrics//", b"//metrics", b"/metri%63s", b"/metrics%00", b"/%ff", b"/../metrics", b"*",
    b"http://x/metrics", b"http://[/metrics", b"metrics", b"/metrics#x", b"", b"x:80",
)  # fmt: skip


def method(draw: Draw) -> bytes:
    """Mostly GET."""
    if seldom(draw):
        return pick(draw, *METHODS)
    return b"HEAD" if seldom(draw, 10) else b"GET"


def request(draw: Draw) -> bytes:
    """One request with its body."""
    asked = query(draw) if draw.below(2) else b""
    lines = [
        method(draw) + b" " + pick(draw, *PATHS) + (b"?" + asked if asked else b"")
        + b" " + pick(draw, b"HTTP/1.0" if seldom(draw, 6) else b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/2.0"),
        b"Host: " + pick(draw, b"x", b"127.0.0.1:80", b"", b"\xff"),
        *some(draw, 5, _header),
    ]  # fmt: skip
    body = b""
    if seldom(draw, 4):
        framing, body = _body(draw)
        lines.append(framing)
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    return (damaged(draw, head) if seldom(draw, 4) else head) + body


def _header(draw: Draw) -> bytes:
    name, make = pick(
        draw,
        ("Accept", accept),
        ("Accept", accept),
        ("Accept-Encoding", accept_encoding),
        ("Authorization", authorization),
        ("X-Prometheus-Scrape-Timeout-Seconds", timeout),
        ("Connection", lambda _: pick(draw, "keep-alive", "close", "upgrade", "x", "")),
        ("Expect", lambda _: pick(draw, "100-continue", "x", "\xff", "")),
        ("Upgrade", lambda _: pick(draw, "websocket", "h2c", "tcp")),
        ("Range", lambda _: pick(draw, "bytes=0-1", "bytes=-", "x")),
        ("If-None-Match", lambda _: pick(draw, "*", '"x"', "\xff")),
        ("Content-Type", lambda _: pick(draw, "text/plain", "multipart/form-data", "\xff")),
        ("Cookie", lambda _: pick(draw, "a=b", "=;=", 'a="\\', "$Version=x")),
    )
    line = f"{name}: {make(draw)}".encode("utf-8", "surrogatepass")
    return damaged(draw, line) if seldom(draw, 4) else line


def _body(draw: Draw) -> tuple[bytes, bytes]:
    """A header about a body, and the body, which may differ from it."""
    return pick(
        draw,
        (b"Content-Length: 5", b"hello"),
        (b"Content-Length: 5", b"he"),
        (b"Content-Length: 0", b""),
        (b"Content-Length: -1", b""),
        (b"Content-Length: 5\r\nContent-Length: 6", b"hello!"),
        (b"Content-Length: 99999999999999999999", b"x"),
        (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"5\r\nhel"),
        (b"Transfer-Encoding: chunked", b"zz\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n"),
        (b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
        (b"Content-Encoding: gzip\r\nContent-Length: 3", b"abc"),
    )


# --- web configurations ----------------------------------------------------------------

_SECTIONS = (
    ("tls_server_config", ("cert_file", "key_file", "client_auth_type", "client_ca_file", "client_allowed_sans", "cipher_suites",
                           "curve_preferences", "min_version", "max_version", "prefer_server_cipher_suites", "cert", "x")),
    ("http_server_config", ("http2", "headers", "x")),
    ("basic_auth_users", ("u", "v", "a:b", "~", "1", '"\\0"', "é")),
    ("rate_limit", ("x",)),
    ("x", ("y",)),
)  # fmt: skip
HASH = "$2b$04$tS.jUsPfhk5Yldd5RZtCOu6i.rJP3EtpOHtTflNVtZLorNKH12sna"  # of "p"
_PLAUSIBLE = {
    "client_auth_type": ("NoClientCert", "RequireAndVerifyClientCert", "VerifyClientCertIfGiven"),
    "client_ca_file": ("own.crt",),
    "client_allowed_sans": ("[localhost]", "[127.0.0.1, '::1', a@b]"),
    "cipher_suites": ("[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]", "[TLS_AES_128_GCM_SHA256]", "[]"),
    "curve_preferences": ("[CurveP256]", "[X25519]", "[]"),
    "min_version": ("TLS12", "TLS10", "TLS13"),
    "max_version": ("TLS13", "TLS12"),
    "prefer_server_cipher_suites": ("true", "false"),
    "http2": ("false", "null"),
    "headers": ("{X-Frame-Options: deny}", "{X-XSS-Protection: 0}", '{Content-Security-Policy: "a; b"}', "{}"),
    "u": (HASH,), "v": (HASH,), "é": (HASH,),
}  # fmt: skip
_VALUES = (
    "own.crt", "own.key", "own.crt", "own.key", "NoClientCert", "RequireAndVerifyClientCert", "VerifyClientCertIfGiven", "RequireAnyClientCert",
    "TLS12", "TLS13", "TLS10", "[TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]", "[TLS_AES_128_GCM_SHA256]", "[CurveP256]", "[X25519]",
    "[localhost]", "true", "false", "{X-Frame-Options: deny}", "{X-Frame-Options: x}", "{Strict-Transport-Security: é}", "{}", "[]", "null",
    "x", "1", ".inf", "1e999", "0x", "2020-01-01", "2020-99-99", "1:2:3", "&a [*a]", "*a", "!!python/name:os.system ''", "!x y",
    "!!int x", "!!binary x", "!!set {a}", "!!timestamp x", "? a", "<<: *a", "[[[[[[[[[[[[[[[[[[[[[[[[[", "|\n    text", '"\\ud800"',
    '"\\0"', "'", "%", "@", "`", "/", "/dev/zero", "/dev/tty", ".", "..", "web.yml", '"a\\nb"', "9" * 5000, "-", "- a", "=", "~",
)  # fmt: skip


def web_configuration(draw: Draw) -> bytes:
    """A web configuration."""
    lines = [pick(draw, "", "---", "%YAML 1.1\n---", "\ufeff", "&a", "#")] if seldom(draw) else []
    for _ in range(1 + draw.below(3)):
        section, keys = pick(draw, *_SECTIONS[:3]) if not seldom(draw) else pick(draw, *_SECTIONS)
        if section == "tls_server_config" and not seldom(draw):
            lines += [f"{section}:", "  cert_file: own.crt", "  key_file: own.key"]
        elif section == "basic_auth_users" and not seldom(draw, 3):
            lines += [f"{section}:", f"  u: {HASH}"]
        else:
            lines.append(f"{section}:" + (f" {pick(draw, *_VALUES)}" if seldom(draw) else ""))
        lines += [_setting(draw, keys) for _ in range(draw.below(3))]
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    return damaged(draw, text) if seldom(draw, 3) else text


def _setting(draw: Draw, keys: Sequence[str]) -> str:
    key = pick(draw, *keys)
    plausible = _PLAUSIBLE.get(key, ()) if draw.below(3) else ()
    return f"  {key}: {pick(draw, *(plausible or _VALUES))}"
