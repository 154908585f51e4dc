"""Users with bcrypt hashes."""

from __future__ import annotations

import base64
import threading
from typing import Any

import bcrypt
import pytest

from clocks import ManualClock
from otel_aioprom._transport.credentials import Authenticator
from otel_aioprom.service.web_config import users as module
from otel_aioprom.service.web_config.users import HashedUsers


def hashed(password: str, version: str = "2y", cost: int = 4) -> str:
    """A cheap hash in the format of ``htpasswd -B``."""
    created = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(cost)).decode()
    return created.replace("$2b$", f"${version}$")


def basic(text: str) -> str:
    """A header with a user name, a colon and a password."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


class Counting:
    """Replaces the module bcrypt and records the compared hashes."""

    def __init__(self) -> None:
        self.compared: list[bytes] = []

    def checkpw(self, password: bytes, wanted: bytes) -> bool:
        """Compare."""
        self.compared.append(wanted)
        return bcrypt.checkpw(password, wanted)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """The bcrypt of all users created in a test."""
    counting = Counting()
    monkeypatch.setattr(module, "require", lambda *_: counting)
    return counting


@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
def test_correct_passwords_are_accepted(version: str) -> None:
    """With any version of the hash format."""
    auth = HashedUsers({"alice": hashed("a:ä", version), "böb": hashed("b", version)})

    assert auth.check(basic("alice:a:ä"))
    assert auth.check(basic("böb:b"))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic =",
        "Bearer x",
        basic("alice:b"),
        basic("carol:a"),
        basic("alice:"),
        basic("a\0:\0"),
    ],
)
def test_wrong_credentials_are_refused(header: str | None) -> None:
    """Malformed headers and passwords of other users too."""
    auth = HashedUsers({"alice": hashed("a"), "bob": hashed("b")})

    assert [auth.check(header) for _ in range(2)] == [False, False]


def test_it_is_a_slow_authenticator() -> None:
    """Callers on an event loop run it in a thread; its ``repr`` has no hash."""
    auth: Authenticator = HashedUsers({"alice": hashed("a")})

    assert auth.slow
    assert auth.challenge == 'Basic realm="metrics", charset="UTF-8"'
    assert repr(auth) == "HashedUsers(1 users)"


def test_72_bytes_of_a_password_count(counting: Counting) -> None:
    """A longer one is truncated, not refused, as in older bcrypt."""
    auth = HashedUsers({"alice": hashed("x" * 80)})

    assert auth.check(basic("alice:" + "x" * 80))
    assert auth.check(basic("alice:" + "x" * 90))
    assert not auth.check(basic("alice:" + "x" * 71))
    assert len(counting.compared) == 2


def test_a_correct_password_is_cached(counting: Counting) -> None:
    """For ten minutes; expired entries are removed."""
    clock = ManualClock()
    auth = HashedUsers({"alice": hashed("a"), "bob": hashed("b")}, clock=clock)
    first = [auth.check(basic("alice:a")) for _ in range(3)]
    hashes_at_first = len(counting.compared)
    clock.now += 599
    auth.check(basic("bob:b"))
    auth.check(basic("alice:a"))
    hashes_later = len(counting.compared)
    clock.now += 2

    assert first == [True] * 3
    assert hashes_at_first == 1
    assert hashes_later == 2
    assert auth.check(basic("alice:a"))
    assert len(counting.compared) == 3
    assert len(auth._cache) == 2


def test_a_wrong_password_is_not_cached(counting: Counting) -> None:
    """Clients cannot fill the memory."""
    auth = HashedUsers({"alice": hashed("a")})
    for _ in range(3):
        auth.check(basic("alice:b"))

    assert len(counting.compared) == 3
    assert not auth._cache


def test_an_unknown_user_costs_a_hash_of_a_known_one(counting: Counting) -> None:
    """The same one each time, so that the duration does not reveal user names."""
    users = {f"user{number}": hashed("a") for number in range(20)}
    auth = HashedUsers(users)
    for _ in range(3):
        auth.check(basic("nobody:a"))

    assert len(counting.compared) == 3
    assert len(set(counting.compared)) == 1
    assert counting.compared[0].decode() in users.values()


def test_users_can_be_replaced() -> None:
    """A cached password is no longer valid, even if another user has the same hash."""
    same = hashed("a")
    auth = HashedUsers({"alice": same, "bob": same})
    before = auth.check(basic("alice:a"))
    auth.replace({"bob": same})
    after = auth.check(basic("alice:a"))
    auth.replace({"bob": hashed("new")})

    assert (before, after) == (True, False)
    assert [auth.check(basic(f"bob:{word}")) for word in ("a", "new")] == [False, True]


def test_without_users_every_check_fails() -> None:
    """Without an error."""
    assert not HashedUsers({}).check(basic("alice:a"))


def test_a_password_that_bcrypt_refuses_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some releases raise for a zero byte."""

    def refuse(*_: object) -> Any:
        raise ValueError

    auth = HashedUsers({"alice": hashed("a")})
    monkeypatch.setattr(auth, "_bcrypt", type("Module", (), {"checkpw": refuse})())

    assert not auth.check(basic("alice:a\0"))


def test_concurrent_checks_hash_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second thread finds the cached result of the first."""
    entered, leave = threading.Event(), threading.Event()
    compared: list[bytes] = []

    class Waiting:
        def checkpw(self, password: bytes, wanted: bytes) -> bool:
            compared.append(wanted)
            entered.set()
            return leave.wait(10) and bcrypt.checkpw(password, wanted)

    monkeypatch.setattr(module, "require", lambda *_: Waiting())
    looked_up = threading.Semaphore(0)

    class Observed(HashedUsers):
        def _is_cached(self, key: bytes) -> bool:
            try:
                return super()._is_cached(key)
            finally:
                looked_up.release()

    auth = Observed({"alice": hashed("a")})
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda: answers.append(auth.check(basic("alice:a"))))
        for _ in range(2)
    ]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    # Two look-ups by the first thread, one by the second, which has a miss and waits for the lock.
    assert all(looked_up.acquire(timeout=10) for _ in range(3))
    leave.set()
    for thread in threads:
        thread.join(10)

    assert answers == [True, True]
    assert len(compared) == 1
