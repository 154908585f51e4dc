"""Authorization of scrapes: 401 for wrong credentials, 503 while they cannot be checked."""

from __future__ import annotations

import logging

from otel_aioprom._concurrency.thread_pool import ThreadPool
from otel_aioprom._transport.credentials import Authenticator
from otel_aioprom.collectors.series.number import GaugeSeries
from otel_aioprom.errors import SecretError
from otel_aioprom.service.messages import RETRY_SOON, ScrapeResponse, refusal

_logger = logging.getLogger(__name__)

_MAX_PENDING = 20  # slow checks that wait for the one thread, mostly of wrong credentials
_pool = ThreadPool(1, "otel_aioprom credentials")  # its own, so that a flood takes no other thread


class Authorization:
    """Checks the ``Authorization`` header of requests.

    Args:
        auth: Checks the credentials; ``None`` admits every client.

    Raises:
        TypeError: ``auth`` has no method ``check``.
    """

    def __init__(self, auth: Authenticator | None) -> None:
        if auth is not None and not callable(getattr(auth, "check", None)):
            raise TypeError(f"auth must be BasicAuth or BearerAuth, not {type(auth).__name__}")
        self._auth = auth
        self._pending = GaugeSeries()

    async def check(self, authorization: str | None) -> ScrapeResponse | None:
        """Check credentials, slow ones in a thread.

        Args:
            authorization: Value of the ``Authorization`` header, if there is one.

        Returns:
            ``None`` if they are right, else the response that refuses the request.
        """
        auth = self._auth
        if auth is None or not auth.slow or auth.remembers(authorization):
            return self.check_blocking(authorization)
        if self._pending.value >= _MAX_PENDING:
            return refusal(503, "too many credentials to check; try again", RETRY_SOON)
        self._pending.inc()
        try:
            return await _pool.call(self.check_blocking, authorization)
        finally:
            self._pending.dec()

    def check_blocking(self, authorization: str | None) -> ScrapeResponse | None:
        """Check credentials in the calling thread; otherwise like ``check``."""
        auth = self._auth
        try:
            if auth is None or auth.check(authorization):
                return None
        except SecretError as error:
            _logger.error("credentials cannot be checked, scrapes are refused: %s", error)  # noqa: TRY400 - no trace
            return refusal(503, "credentials cannot be checked at present", {"Retry-After": "5"})
        challenge = {"WWW-Authenticate": auth.challenge}
        return refusal(401, "these metrics require credentials", challenge)
