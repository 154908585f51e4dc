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
    """A hash that is made fast, as ``htpasswd -B`` writes it."""
    made = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(cost)).decode()
    return made.replace("$2b$", f"${version}$")


def basic(text: str) -> str:
    """A header with a user name, a colon and a password."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


class Counting:
    """Stands for the module bcrypt and notes what is compared."""

    def __init__(self) -> None:
        self.compared: list[bytes] = []

    def checkpw(self, password: bytes, wanted: bytes) -> bool:
        """Compare."""
        self.compared.append(wanted)
        return bcrypt.checkpw(password, wanted)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """What the users made in a test compare with."""
    made = Counting()
    monkeypatch.setattr(module, "require", lambda *_: made)
    return made


@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
def test_users_with_their_passwords_pass(version: str) -> None:
    """Whatever program made the hash."""
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
def test_others_do_not_pass(header: str | None) -> None:
    """Nor with the password of another user, whatever the header is."""
    auth = HashedUsers({"alice": hashed("a"), "bob": hashed("b")})

    assert [auth.check(header) for _ in range(2)] == [False, False]


def test_it_is_a_slow_authenticator() -> None:
    """Callers on an event loop run it in a thread; nothing it shows is a hash."""
    auth: Authenticator = HashedUsers({"alice": hashed("a")})

    assert auth.slow
    assert auth.challenge == 'Basic realm="metrics", charset="UTF-8"'
    assert repr(auth) == "HashedUsers(1 users)"


def test_a_password_is_as_long_as_bcrypt_looks(counting: Counting) -> None:
    """72 bytes count, as they always did; a longer one is not refused."""
    auth = HashedUsers({"alice": hashed("x" * 80)})

    assert auth.check(basic("alice:" + "x" * 80))
    assert auth.check(basic("alice:" + "x" * 90))
    assert not auth.check(basic("alice:" + "x" * 71))
    assert len(counting.compared) == 2


def test_a_right_password_is_hashed_once_in_a_while(counting: Counting) -> None:
    """A scrape each second does not cost a hash each second."""
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
    assert len(auth._right) == 2


def test_a_wrong_password_is_hashed_each_time(counting: Counting) -> None:
    """What strangers send takes no memory."""
    auth = HashedUsers({"alice": hashed("a")})
    for _ in range(3):
        auth.check(basic("alice:b"))

    assert len(counting.compared) == 3
    assert not auth._right


def test_an_unknown_user_costs_a_hash_of_a_known_one(counting: Counting) -> None:
    """The same one each time, so that its time tells nothing."""
    users = {f"user{number}": hashed("a") for number in range(20)}
    auth = HashedUsers(users)
    for _ in range(3):
        auth.check(basic("nobody:a"))

    assert len(counting.compared) == 3
    assert len(set(counting.compared)) == 1
    assert counting.compared[0].decode() in users.values()


def test_other_users_take_the_place_of_these() -> None:
    """A remembered password is good no longer, though another user has the same hash."""
    same = hashed("a")
    auth = HashedUsers({"alice": same, "bob": same})
    before = auth.check(basic("alice:a"))
    auth.replace({"bob": same})
    after = auth.check(basic("alice:a"))
    auth.replace({"bob": hashed("new")})

    assert (before, after) == (True, False)
    assert [auth.check(basic(f"bob:{word}")) for word in ("a", "new")] == [False, True]


def test_nobody_passes_where_there_are_no_users() -> None:
    """And nothing fails."""
    assert not HashedUsers({}).check(basic("alice:a"))


def test_a_password_that_bcrypt_refuses_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some releases take no zero byte."""

    def refuse(*_: object) -> Any:
        raise ValueError

    auth = HashedUsers({"alice": hashed("a")})
    monkeypatch.setattr(auth, "_bcrypt", type("Module", (), {"checkpw": refuse})())

    assert not auth.check(basic("alice:a\0"))


def test_two_at_once_hash_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited for the first finds its answer."""
    entered, leave = threading.Event(), threading.Event()
    compared: list[bytes] = []

    class Waiting:
        def checkpw(self, password: bytes, wanted: bytes) -> bool:
            compared.append(wanted)
            entered.set()
            return leave.wait(10) and bcrypt.checkpw(password, wanted)

    monkeypatch.setattr(module, "require", lambda *_: Waiting())
    asked = threading.Semaphore(0)

    class Asking(HashedUsers):
        def _is_remembered(self, key: bytes) -> bool:
            try:
                return super()._is_remembered(key)
            finally:
                asked.release()

    auth = Asking({"alice": hashed("a")})
    answers: list[bool] = []
    threads = [
        threading.Thread(target=lambda: answers.append(auth.check(basic("alice:a"))))
        for _ in range(2)
    ]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    # Twice by the first, once by the second: that one has not found it, and waits.
    assert all(asked.acquire(timeout=10) for _ in range(3))
    leave.set()
    for thread in threads:
        thread.join(10)

    assert answers == [True, True]
    assert len(compared) == 1
