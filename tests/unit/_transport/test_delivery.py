"""HTTP requests to a server: contents, retries, and errors."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
from yarl import URL

from certificates import Pair, client_context, make_pair, server_context
from gateway import Answer, Gateway, Hold
from oracles import DEADLINE, until
from otel_aioprom._transport import delivery
from otel_aioprom._transport.credentials import BasicAuth, BearerAuth
from otel_aioprom._transport.delivery import Delivery, is_success, redacted
from otel_aioprom._transport.retry import Retry
from otel_aioprom.errors import PushError, SecretError
from processes import free_port

QUICK = Retry(attempts=4, first_wait=0.001, longest_wait=0.001)
BODY = [b"a 1\n", b"b 2\n"]
LARGE = [b"x" * 65536] * 160


def url_of(gateway: Gateway) -> URL:
    """Where the requests of these tests go."""
    return URL(f"{gateway.url}/metrics/job/j")


async def send(gateway: Gateway, method: str = "PUT", **options: Any) -> aiohttp.ClientResponse:
    """One request of a delivery of its own."""
    return await Delivery(**options).send(method, url_of(gateway), BODY)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A certificate of this machine."""
    return make_pair(tmp_path_factory.mktemp("tls"), "gateway")


# --- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
def test_the_timeout_is_above_zero(timeout: float) -> None:
    """Else no request could ever succeed."""
    with pytest.raises(ValueError, match="timeout must be a number of seconds above 0"):
        Delivery(timeout=timeout)


@pytest.mark.parametrize(
    "name", ["Content-Type", "content-encoding", "CONTENT-LENGTH", "Transfer-Encoding", "Host"]
)
def test_headers_that_a_request_has_anyway_are_refused(name: str) -> None:
    """They would contradict what is sent."""
    with pytest.raises(ValueError, match=f"the header '{name}' is set by the library"):
        Delivery(headers={name: "x"})


def test_credentials_come_from_one_place() -> None:
    """As a header, by ``auth`` or in the URL."""
    auth = BasicAuth("u", "p")
    with pytest.raises(ValueError, match="'authorization'"):
        Delivery(auth=auth, headers={"authorization": "Basic eDp5"})
    with pytest.raises(ValueError, match="the URL contains credentials"):
        Delivery(auth=auth).check_target(URL("http://u:p@h/"))
    Delivery(auth=auth).check_target(URL("http://h/"))
    Delivery().check_target(URL("http://u:p@h/"))


@pytest.mark.parametrize("auth", [("u", "p"), "Bearer t", b"t", object()])
def test_credentials_of_a_wrong_kind_are_refused_at_once(auth: Any) -> None:
    """Not only at the first push; the secret is not in the error."""
    with pytest.raises(TypeError, match="auth"):
        Delivery(auth=auth)


def test_an_unknown_option_is_refused() -> None:
    """It would be a mistake."""
    with pytest.raises(TypeError, match="verify"):
        Delivery(verify=False)  # type: ignore[call-arg]


# --- requests --------------------------------------------------------------------------------


async def test_a_body_is_sent_with_its_length() -> None:
    """Headers of the user and of the body go with it."""
    with Gateway() as gateway:
        sender = Delivery(headers={"X-Scope-OrgID": "7"})
        await sender.send("POST", url_of(gateway), BODY, {"Content-Type": "text/x"})
    push = gateway.last

    assert (push.method, push.path, push.body) == ("POST", "/metrics/job/j", b"a 1\nb 2\n")
    assert push.headers["Content-Length"] == "8"
    assert "Transfer-Encoding" not in push.headers
    assert push.headers["X-Scope-OrgID"] == "7"
    assert push.headers["Content-Type"] == "text/x"


async def test_a_large_body_arrives() -> None:
    """Of more than any buffer holds."""
    with Gateway() as gateway:
        await Delivery().send("PUT", url_of(gateway), LARGE)

    assert gateway.last.body == b"".join(LARGE)


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
async def test_there_need_not_be_a_body(method: str) -> None:
    """Then it is empty, and said so where a server may expect one."""
    with Gateway() as gateway:
        await Delivery().send(method, url_of(gateway))

    assert (gateway.last.method, gateway.last.body) == (method, b"")
    assert gateway.last.headers.get("Content-Length", "0") == "0"
    assert "Transfer-Encoding" not in gateway.last.headers


async def test_the_response_can_be_read_after_all_is_closed() -> None:
    """Also twice, with its headers."""
    answer = Answer(202, "taken ✓", {"X-What": "ever"})
    with Gateway(default=answer) as gateway:
        response = await send(gateway)
        async with aiohttp.ClientSession() as session:
            second = await send(gateway, session=session)

    for each in (response, second):
        assert (each.status, each.headers["X-What"]) == (202, "ever")
        assert await each.text() == "taken ✓"
        assert await each.read() == "taken ✓".encode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    """A gateway that cleans up a path means another group (E90)."""
    with Gateway(Answer(status, headers={"Location": "/metrics/job/other"})) as gateway:
        response = await send(gateway, retry=QUICK)

    assert (response.status, is_success(response)) == (status, False)
    assert len(gateway.requests) == 1


# --- sessions --------------------------------------------------------------------------------


async def test_a_delivery_keeps_one_session_between_open_and_close() -> None:
    """Each of them may be called twice; afterwards a request has a session of its own again."""
    sender = Delivery()
    with Gateway() as gateway:
        await sender.open()
        await sender.open()
        for _ in range(3):
            await sender.send("PUT", url_of(gateway), BODY)
        await sender.close()
        await sender.close()
        await sender.send("PUT", url_of(gateway), BODY)

    assert [each.connection for each in gateway.requests] == [0, 0, 0, 1]


async def test_a_session_is_opened_for_a_block() -> None:
    """A session that was open before stays open."""
    sender = Delivery()
    with Gateway() as gateway:
        async with sender.opened():
            await sender.send("PUT", url_of(gateway), BODY)
        await sender.open()
        async with sender.opened():
            await sender.send("PUT", url_of(gateway), BODY)
        await sender.send("PUT", url_of(gateway), BODY)
        await sender.close()

    assert [each.connection for each in gateway.requests] == [0, 1, 1]


async def test_an_external_session_is_used_and_stays_open() -> None:
    """The caller closes it."""
    with Gateway() as gateway:
        async with aiohttp.ClientSession(headers={"X-Session": "mine"}) as session:
            sender = Delivery(session=session)
            await sender.open()
            await sender.send("PUT", url_of(gateway), BODY)
            await sender.close()
            assert not session.closed
            await sender.send("PUT", url_of(gateway), BODY)

    assert [each.headers["X-Session"] for each in gateway.requests] == ["mine", "mine"]
    assert [each.connection for each in gateway.requests] == [0, 0]


async def test_an_external_session_with_raise_for_status_changes_nothing() -> None:
    """The response is returned, and an error status is not retried as a lost connection."""
    with Gateway(Answer(400, "why")) as gateway:
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            response = await send(gateway, session=session, retry=QUICK)

    assert (response.status, await response.text()) == (400, "why")
    assert len(gateway.requests) == 1


@pytest.mark.parametrize("cut", ["request", "answer", "response", None])
async def test_nothing_is_left_open(cut: Any) -> None:
    """Whatever the outcome: neither sessions nor responses warn when they are garbage-collected."""
    with Gateway(default=Answer(500, "text", cut=cut)) as gateway:
        try:
            await send(gateway, raise_for_status=True)
        except PushError as error:
            assert error.__cause__ is None or cut  # noqa: PT017 - the error is to be thrown away
        gc.collect()
        await asyncio.sleep(0)

    assert gateway.methods == ["PUT"]


# --- retries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
async def test_by_default_there_is_one_attempt(status: int) -> None:
    """Whatever the answer."""
    with Gateway(Answer(status, "why")) as gateway:
        response = await send(gateway)

    assert (response.status, await response.text()) == (status, "why")
    assert len(gateway.requests) == 1


@pytest.mark.parametrize(
    "first",
    [
        Answer(429), Answer(500), Answer(502), Answer(503), Answer(504),
        Answer(cut="request"), Answer(cut="answer"), Answer(cut="response"),
    ],
)  # fmt: skip
async def test_transient_failures_are_retried(first: Answer) -> None:
    """With the complete body."""
    with Gateway(first, first, Answer(202)) as gateway:
        response = await Delivery(retry=QUICK).send("POST", url_of(gateway), LARGE, {"X-A": "b"})

    assert response.status == 202
    assert gateway.methods == ["POST"] * 3
    assert gateway.last.body == b"".join(LARGE)
    assert gateway.last.headers["X-A"] == "b"


@pytest.mark.parametrize("status", [400, 401, 404, 405, 413, 422])
async def test_a_client_error_is_not_retried(status: int) -> None:
    """It would fail again."""
    with Gateway(Answer(status)) as gateway:
        response = await send(gateway, retry=QUICK)

    assert response.status == status
    assert len(gateway.requests) == 1


async def test_after_the_maximum_attempts_the_last_response_is_returned() -> None:
    """After as many as were asked for."""
    script = [Answer(500, str(number)) for number in range(9)]
    with Gateway(*script) as gateway:
        response = await send(gateway, retry=QUICK)

    assert await response.text() == "3"
    assert len(gateway.requests) == 4


async def test_a_call_may_have_its_own_retry_policy() -> None:
    """It replaces that of the delivery."""
    with Gateway(Answer(500), Answer(500), Answer(200), Answer(500)) as gateway:
        sender = Delivery(retry=Retry(attempts=1))
        first = await sender.send("PUT", url_of(gateway), BODY, retry=QUICK)
        second = await sender.send("PUT", url_of(gateway), BODY)

    assert (first.status, second.status) == (200, 500)
    assert len(gateway.requests) == 4


async def test_an_unreachable_server_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as the policy says; the error contains the reason, and its cause is that of the connection."""
    tries: list[str] = []
    real = aiohttp.ClientSession.request

    def request(self: Any, *arguments: Any, **options: Any) -> Any:
        tries.append(arguments[0])
        return real(self, *arguments, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "request", request)
    port = free_port()
    with pytest.raises(PushError, match=str(port)) as caught:
        await Delivery(retry=QUICK).send("PUT", URL(f"http://127.0.0.1:{port}/x"), BODY)

    assert len(tries) == 4
    assert (caught.value.status, caught.value.url) == (None, f"http://127.0.0.1:{port}/x")
    assert isinstance(caught.value.__cause__, aiohttp.ClientConnectorError)
    assert isinstance(caught.value, ConnectionError)


async def test_each_attempt_has_the_timeout() -> None:
    """A timeout is retried, and named in the error."""
    hold = Hold()
    with Gateway(Answer(hold=hold), Answer(201), default=Answer(hold=hold)) as gateway:
        response = await send(gateway, retry=QUICK, timeout=0.2)
        with pytest.raises(PushError, match="no response: timed out") as caught:
            await send(gateway, timeout=0.2)

    assert response.status == 201
    assert len(gateway.requests) == 3
    assert isinstance(caught.value.__cause__, asyncio.TimeoutError)


async def test_the_total_time_limits_an_attempt_too() -> None:
    """Not only the waits between two."""
    began = monotonic()
    with Gateway(default=Answer(hold=Hold())) as gateway:
        with pytest.raises(PushError, match="timed out"):
            await send(gateway, retry=Retry(attempts=9, total=0.3), timeout=30)
        assert monotonic() - began < DEADLINE / 2
        assert len(gateway.requests) == 1


class Scarce(Retry):
    """Waits until hardly any time is left, as it may happen by chance."""

    def wait(self, tried: int, elapsed: float, retry_after: float | None) -> float | None:
        """All that is left."""
        return self.total - elapsed if tried == 1 else None


async def test_an_attempt_at_the_very_end_has_a_timeout() -> None:
    """A time that has run out in the wait before it is no reason to wait without end."""
    with Gateway(Answer(500), Answer(hold=Hold())) as gateway:
        sending = asyncio.ensure_future(send(gateway, retry=Scarce(total=0.2), timeout=1))
        done, _ = await asyncio.wait([sending], timeout=3)
        sending.cancel()
        await asyncio.wait([sending])

    assert done


async def waits_of(monkeypatch: pytest.MonkeyPatch, *script: Answer, retry: Retry) -> list[float]:
    """The waits between scripted responses; the waits themselves take no time."""
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, *rest: Any) -> None:
        if seconds:
            waits.append(seconds)
        await real(0)

    with Gateway(*script) as gateway, monkeypatch.context() as patch:
        patch.setattr(delivery.asyncio, "sleep", sleep)
        await send(gateway, retry=retry)
        assert not gateway.script
    return waits


async def test_retry_after_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is valid; otherwise the backoff applies."""
    asked = [Answer(429, headers={"Retry-After": text}) for text in ("7", "0", "soon")]
    retry = Retry(attempts=9, total=50, first_wait=0.5, longest_wait=0.5)
    waits = await waits_of(monkeypatch, *asked, Answer(503), Answer(), retry=retry)

    assert waits[0] == 7.0
    assert len(waits) == 3
    assert all(0.25 <= wait <= 0.5 for wait in waits[1:])


async def test_too_long_a_retry_after_ends_the_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its answer comes back at once."""
    answer = Answer(503, headers={"Retry-After": "3600"})

    assert await waits_of(monkeypatch, answer, retry=Retry(total=50)) == []


async def test_whoever_cancels_stops_it_at_once() -> None:
    """In an attempt, which ends the connection, or between two; nothing more is sent."""
    for first in (Answer(hold=Hold()), Answer(503, headers={"Retry-After": "3600"})):
        with Gateway(first) as gateway:
            sending = asyncio.ensure_future(send(gateway, retry=Retry(total=9999)))
            await gateway.arrived(1)
            await until(lambda: not gateway.script)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(sending, DEADLINE)
            assert len(gateway.requests) == 1


async def test_retries_are_logged_at_level_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the URL, but without its credentials."""
    with Gateway(Answer(500)) as gateway, caplog.at_level(logging.DEBUG, "otel_aioprom"):
        address = url_of(gateway).with_user("u").with_password("hidden")
        await Delivery(retry=QUICK).send("PUT", address, BODY)

    assert f"retrying PUT {url_of(gateway)} in 0.00 s" in caplog.text
    assert "hidden" not in caplog.text


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 400, 404, 500])
async def test_raise_for_status(status: int) -> None:
    """The error contains status, URL and response body."""
    with Gateway(default=Answer(status, "  text format parsing error in line 1: …\n")) as gateway:
        with pytest.raises(PushError) as caught:
            await send(gateway, raise_for_status=True)
        url = str(url_of(gateway))

    assert (caught.value.url, caught.value.status) == (url, status)
    assert caught.value.reason == "text format parsing error in line 1: …"
    assert str(caught.value) == (
        f"nothing arrived at {url}: status {status}: text format parsing error in line 1: …"
    )


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_no_success_is_raised(status: int) -> None:
    """There are three of them (E81, E91)."""
    with Gateway(Answer(status)) as gateway:
        response = await send(gateway, raise_for_status=True)

    assert (response.status, is_success(response)) == (status, True)


async def test_an_error_contains_the_beginning_of_a_long_response() -> None:
    """And the reason phrase of an empty one; invalid UTF-8 does no harm."""
    with Gateway(Answer(400, "é" * 10_000), Answer(404)) as gateway:
        with pytest.raises(PushError) as long:
            await send(gateway, raise_for_status=True)
        with pytest.raises(PushError) as empty:
            await send(gateway, raise_for_status=True)

    assert long.value.reason == "é" * 500
    assert empty.value.reason == "Not Found"


async def test_an_error_without_a_message_is_named_by_its_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is always a reason."""

    async def request(*_: Any, **__: Any) -> None:
        raise OSError

    monkeypatch.setattr(aiohttp.ClientSession, "request", request)
    with pytest.raises(PushError, match="no response: OSError"):
        await Delivery().send("PUT", URL("http://127.0.0.1/"), BODY)


# --- TLS and credentials ---------------------------------------------------------------------


async def test_a_certificate_is_checked(pair: Pair) -> None:
    """With the context that is given, or not at all; by default this machine's authorities count."""
    with Gateway(ssl=server_context(pair)) as gateway:
        trusted = await send(gateway, ssl=client_context(pair))
        careless = await send(gateway, ssl=False)
        with pytest.raises(PushError, match="certificate verify failed") as caught:
            await send(gateway)

    assert (trusted.status, careless.status, caught.value.status) == (200, 200, None)
    assert len(gateway.requests) == 2


async def test_a_wrong_certificate_stays_wrong(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    """So it is not tried again."""
    caplog.set_level(logging.DEBUG)
    with (
        Gateway(ssl=server_context(pair)) as gateway,
        pytest.raises(PushError, match="certificate verify failed"),
    ):
        await send(gateway, retry=QUICK)

    assert "retrying" not in caplog.text


async def test_credentials_are_sent() -> None:
    """Basic, Bearer, or those of the URL."""
    with Gateway(user="us er:p:ä") as gateway:
        response = await send(gateway, auth=BasicAuth("us er", "p:ä"))
        gateway.user = "us er:p@/:"
        address = url_of(gateway).with_user("us er").with_password("p@/:")
        second = await Delivery().send("PUT", address, BODY)
        refused = await send(gateway, auth=BearerAuth("t0ken"))

    assert (response.status, second.status, refused.status) == (200, 200, 401)
    assert gateway.last.headers["Authorization"] == "Bearer t0ken"


def write(file: Path, text: str) -> None:
    """Replace a file."""
    other = file.with_suffix(".new")
    other.write_text(text)
    os.replace(other, file)  # noqa: PTH105 - at once, as those who rotate secrets do


@pytest.mark.parametrize("kind", ["password", "token"])
async def test_a_secret_is_read_again_when_its_file_changes(tmp_path: Path, kind: str) -> None:
    """Also between two tries of one request, for the other side may have changed it first."""
    file = tmp_path / "secret"
    write(file, "first\n")
    auth: Any = BearerAuth(token_file=file) if kind == "token" else BasicAuth("u", password_file=file)  # fmt: skip
    hold = Hold()
    with Gateway(Answer(500, hold=hold)) as gateway:
        sending = asyncio.ensure_future(send(gateway, auth=auth, retry=QUICK))
        await gateway.arrived(1)
        write(file, "second\n")
        hold.let_go()
        await sending
    shown_ones = [each.headers["Authorization"] for each in gateway.requests]

    if kind == "token":
        assert shown_ones == ["Bearer first", "Bearer second"]
    else:
        pairs = [base64.b64decode(each.removeprefix("Basic ")) for each in shown_ones]
        assert pairs == [b"u:first", b"u:second"]


async def test_nothing_is_sent_without_its_secret(tmp_path: Path) -> None:
    """A missing secret file is an error of its own; when it exists again, requests are sent."""
    file = tmp_path / "secret"
    write(file, "first")
    sender = Delivery(auth=BasicAuth("u", password_file=file), retry=QUICK)
    with Gateway() as gateway:
        file.unlink()
        with pytest.raises(SecretError, match="secret"):
            await sender.send("PUT", url_of(gateway), BODY)
        assert gateway.requests == []
        write(file, "second")
        await sender.send("PUT", url_of(gateway), BODY)

    assert len(gateway.requests) == 1


def test_credentials_make_the_header_that_they_themselves_accept() -> None:
    """In UTF-8, whatever stands in them."""
    for auth in (BasicAuth("u ü", "p:ß "), BasicAuth("", "p"), BearerAuth("t-._~+/=")):
        assert auth.check(auth.header())
    assert BasicAuth("Aladdin", "open sesame").header() == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert BearerAuth("mF_9.B5f-4.1JqM").header() == "Bearer mF_9.B5f-4.1JqM"


@asynccontextmanager
async def failing() -> AsyncIterator[tuple[Gateway, URL]]:
    """A gateway that fails in every way, and one that is unreachable."""
    script = (Answer(401, "no"), Answer(307), Answer(cut="answer"), Answer(cut="response"))
    with Gateway(*script, default=Answer(500)) as gateway:
        yield gateway, URL(f"http://127.0.0.1:{free_port()}/")


@pytest.mark.parametrize("by", ["auth", "address"])
async def test_no_error_and_no_log_contains_a_secret(
    by: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither plain nor in base64, in no string and no repr of the error or its causes."""
    encoded = base64.b64encode(b"u:hidden").decode()
    sender = Delivery(
        auth=BasicAuth("u", "hidden") if by == "auth" else None,
        raise_for_status=True,
        retry=Retry(attempts=2, first_wait=0.001),
    )
    texts: list[str] = []
    async with failing() as (gateway, away):
        with caplog.at_level(logging.DEBUG):
            for target in (*[url_of(gateway)] * 4, away):
                address = target if by == "auth" else target.with_user("u").with_password("hidden")
                with pytest.raises(PushError) as caught:
                    await sender.send("PUT", address, BODY)
                error: BaseException | None = caught.value
                while error is not None:
                    texts += [str(error), repr(error), str(error.args)]
                    error = error.__cause__ or error.__context__
    text = "\n".join([*texts, caplog.text, repr(sender)])

    assert len(texts) >= 15
    assert "hidden" not in text
    assert encoded not in text


def test_redacted_urls_have_no_credentials() -> None:
    """All else stays as it is."""
    assert (
        redacted(URL("http://u:p@h:1/a%2Fb/%C3%A9?x=1", encoded=True))
        == "http://h:1/a%2Fb/%C3%A9?x=1"
    )
    assert redacted(URL("http://h/")) == "http://h/"
