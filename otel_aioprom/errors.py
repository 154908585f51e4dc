"""Every exception class of the library.

```
MetricsError
├── InvalidNameError (ValueError)         .name .reason
├── InvalidLabelsError (ValueError)       .labels .reason
├── DuplicateCollectorError (ValueError)  .name .existing
├── TranslationError (ValueError)         .metric .reason
├── GatherError (RuntimeError)            .faults
├── SlowReaderError (ConnectionError)     .seconds
├── SecretError (OSError)                 .path .reason
├── ConfigurationError (ValueError)       .key .reason
├── WebConfigError (ValueError)           .path .where .reason
├── MissingExtraError (ImportError)       .package .extra
├── PushError (ConnectionError)           .url .status .reason
├── SpoolError (OSError)                  .path .reason
└── ServiceError (RuntimeError)
    ├── ServiceNotRunningError
    └── ServiceStartError (OSError)       .address .reason
```

Look-ups of what is not there raise ``KeyError``, arguments of the wrong kind ``TypeError``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class MetricsError(Exception):
    """Base of every error that the library raises on its own account."""


class InvalidNameError(MetricsError, ValueError):
    """A metric name that no Prometheus format can carry.

    Attributes:
        name: The name as given.
        reason: What would have been right.
    """

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"invalid metric name {self.name!r}: {self.reason}"


class InvalidLabelsError(MetricsError, ValueError):
    """A label set with a name that is not allowed.

    Attributes:
        labels: The label set as given.
        reason: Which name is wrong, and what would have been right.
    """

    def __init__(self, labels: Mapping[str, object], reason: str) -> None:
        super().__init__(labels, reason)
        self.labels = labels
        self.reason = reason

    def __str__(self) -> str:
        return f"invalid labels {self.labels!r}: {self.reason}"


class DuplicateCollectorError(MetricsError, ValueError):
    """A registry already exposes samples of this name.

    Attributes:
        name: The name that is wanted twice.
        existing: Name of the collector that has it.
    """

    def __init__(self, name: str, existing: str) -> None:
        super().__init__(name, existing)
        self.name = name
        self.existing = existing

    def __str__(self) -> str:
        owner = (
            "another collector"
            if self.name == self.existing
            else f"the collector {self.existing!r}"
        )
        return f"the name {self.name!r} is taken by {owner}: choose another name, or deregister that one first"


class TranslationError(MetricsError, ValueError):
    """An OpenTelemetry metric that has no Prometheus form. Caught, counted and logged by the reader.

    Attributes:
        metric: Name of the OpenTelemetry metric.
        reason: Why it is left out.
    """

    def __init__(self, metric: str, reason: str) -> None:
        super().__init__(metric, reason)
        self.metric = metric
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.metric!r} cannot be translated: {self.reason}"


class GatherError(MetricsError, RuntimeError):
    """Something had to be left out of a response, and ``on_error="fail"`` forbids that.

    Attributes:
        faults: One sentence for each thing left out.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(tuple(faults))
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "metrics would be missing from the response: " + "; ".join(self.faults)


class SlowReaderError(MetricsError, ConnectionError):
    """A client has not read its response in time; the connection is to be cut.

    Attributes:
        seconds: How long it was waited for.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"it took nothing of its response for {self.seconds} s and was dropped"


class ServiceError(MetricsError, RuntimeError):
    """Base of the service's errors."""


class ServiceNotRunningError(ServiceError):
    """An address was asked for before ``start`` or after ``stop``."""


class ServiceStartError(ServiceError, OSError):
    """The service could not listen; nothing is left open. The system's error is the cause.

    Attributes:
        address: Host and port that were asked for, as ``host:port``.
        reason: What the system said.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot listen on {self.address}: {self.reason}"


class SecretError(MetricsError, OSError):
    """A secret cannot be had from its file. Never tells the secret. The system's error, if any, is the cause.

    Attributes:
        path: The file.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"no secret in {self.path!r}: {self.reason}"


class WebConfigError(MetricsError, ValueError):
    """A web configuration file that cannot be used. Tells no hash and no key.

    Attributes:
        path: The file.
        where: The setting as a dotted key, or the line; empty for the file as a whole.
        reason: What is wrong, and what would have been right.
    """

    def __init__(self, path: str, where: str, reason: str) -> None:
        super().__init__(path, where, reason)
        self.path = path
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return ": ".join(part for part in (self.path, self.where, self.reason) if part)


class ConfigurationError(MetricsError, ValueError):
    """A configuration with a key or a value that makes no sense.

    Attributes:
        key: The key as given.
        reason: What is wrong, and what would have been right.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"configuration of otel_aioprom: {self.key}: {self.reason}"


class PushError(MetricsError, ConnectionError):
    """Metrics have not arrived. The error of the connection, if any, is the cause.

    Attributes:
        url: Where they were to go, without credentials.
        status: The HTTP status of the refusal; ``None`` if there was no response.
        reason: What the server said, or what became of the connection.
    """

    def __init__(self, url: str, status: int | None, reason: str) -> None:
        super().__init__(url, status, reason)
        self.url = url
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        answer = "no response" if self.status is None else f"status {self.status}"
        return f"nothing arrived at {self.url}: {answer}: {self.reason}"


class SpoolError(MetricsError, OSError):
    """A folder in which messages wait cannot be used. The system's error is the cause.

    Attributes:
        path: The folder or file.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"messages cannot be kept in {self.path!r}: {self.reason}"


class MissingExtraError(MetricsError, ImportError):
    """A feature needs a package that is not installed.

    Attributes:
        package: The package that is missing.
        extra: The extra of this library that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra)
        self.package = package
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.package} is not installed: pip install otel-aioprom[{self.extra}]"
