"""All exception classes of the library.

```
MetricsError
├── InvalidNameError (ValueError)         .name .reason
├── InvalidLabelsError (ValueError)       .labels .reason
├── DuplicateCollectorError (ValueError)  .name .existing
├── TranslationError (ValueError)         .metric .reason
├── GatherError (RuntimeError)            .faults
├── SlowReaderError (ConnectionError)     .seconds
├── OverloadError (TimeoutError)          .seconds
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

Besides these, a look-up that finds nothing raises ``KeyError``, and an argument of the wrong type ``TypeError``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:  # real dataclasses would make importing a collector slower by some 3 %

    def dataclass_transform(**_: object) -> Callable[[type], type]:
        """Return a decorator that changes nothing."""
        return lambda cls: cls


@dataclass_transform(eq_default=False)
class MetricsError(Exception):
    """Base of every error that the library itself raises.

    A subclass is created from its annotated attributes, in their order or by name.
    """

    _message: ClassVar[str] = ""
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = [name for name in cls.__annotations__ if not name.startswith("_")]
        cls._fields = (*cls._fields, *own)

    def __init__(self, *values: Any, **named: Any) -> None:
        if self._fields:
            given = {**dict(zip(self._fields, values)), **named}
            if given.keys() != set(self._fields) or len(values) + len(named) != len(given):
                raise TypeError(f"{type(self).__name__} takes {', '.join(self._fields)}")
            vars(self).update(given)
            values = tuple([given[name] for name in self._fields])
        super().__init__(*values)  # pickle and repr read ``args``

    def __str__(self) -> str:
        return self._message.format_map(vars(self)) or super().__str__()


class InvalidNameError(MetricsError, ValueError):
    """A metric name that no Prometheus format can carry.

    Attributes:
        name: The name as passed.
        reason: Which names are valid.
    """

    name: object
    reason: str
    _message = "invalid metric name {name!r}: {reason}"


class InvalidLabelsError(MetricsError, ValueError):
    """A label set with a name that is not allowed.

    Attributes:
        labels: The label set as passed.
        reason: Which name is invalid, and which names are valid.
    """

    labels: Mapping[str, object]
    reason: str
    _message = "invalid labels {labels!r}: {reason}"


class DuplicateCollectorError(MetricsError, ValueError):
    """The registry already exposes samples of this name.

    Attributes:
        name: The name that collides.
        existing: Name of the registered collector that has it.
    """

    name: str
    existing: str

    def __str__(self) -> str:
        other = f"the collector {self.existing!r}"
        owner = "another collector" if self.name == self.existing else other
        return f"the name {self.name!r} is taken by {owner}: choose another name, or deregister that one first"


class TranslationError(MetricsError, ValueError):
    """An OpenTelemetry metric that has no Prometheus form. The reader catches, counts and logs it.

    Attributes:
        metric: Name of the OpenTelemetry metric.
        reason: Why it is dropped.
    """

    metric: str
    reason: str
    _message = "{metric!r} cannot be translated: {reason}"


class GatherError(MetricsError, RuntimeError):
    """Something is missing from a response, and ``on_error="fail"`` forbids that.

    Attributes:
        faults: One sentence for each thing that is missing.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(tuple(faults))
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "metrics would be missing from the response: " + "; ".join(self.faults)


class SlowReaderError(MetricsError, ConnectionError):
    """A client has not read its response in time; its connection is to be closed.

    Attributes:
        seconds: The write timeout that has expired.
    """

    seconds: float
    _message = "the client took nothing of its response for {seconds} s and was disconnected"


class OverloadError(MetricsError, TimeoutError):
    """The library's own threads were busy for too long, so that a response could not be built.

    Attributes:
        seconds: How long it was waited for.
    """

    seconds: float
    _message = "the library's threads were busy for more than {seconds} s: the process is overloaded; try again"


class ServiceError(MetricsError, RuntimeError):
    """Base of the service's errors."""


class ServiceNotRunningError(ServiceError):
    """The address was read before ``start`` or after ``stop``."""


class ServiceStartError(ServiceError, OSError):
    """The service cannot listen; no socket stays open. The system's error is the cause.

    Attributes:
        address: Host and port as ``host:port``.
        reason: The system's message.
    """

    address: str
    reason: str
    _message = "cannot listen on {address}: {reason}"


class SecretError(MetricsError, OSError):
    """A secret cannot be read from its file. Never contains the secret. The system's error, if any, is the cause.

    Attributes:
        path: The file.
        reason: What is wrong with it.
    """

    path: str
    reason: str
    _message = "no secret in {path!r}: {reason}"


class WebConfigError(MetricsError, ValueError):
    """A web configuration file that is invalid. Contains no hash and no key.

    Attributes:
        path: The file.
        where: The setting as a dotted key, or the line; empty for the file as a whole.
        reason: What is wrong, and what is valid.
    """

    path: str
    where: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.path, self.where, self.reason) if part)


class ConfigurationError(MetricsError, ValueError):
    """A configuration with an unknown key or an invalid value.

    Attributes:
        key: The key as passed.
        reason: What is wrong, and what is valid.
    """

    key: str
    reason: str
    _message = "configuration of otel_aioprom: {key}: {reason}"


class PushError(MetricsError, ConnectionError):
    """A push has failed. The error of the connection, if any, is the cause.

    Attributes:
        url: Where to, without credentials.
        status: HTTP status of the response; ``None`` without a response.
        reason: The server's message, or why the connection failed.
    """

    url: str
    status: int | None
    reason: str

    def __str__(self) -> str:
        answer = "no response" if self.status is None else f"status {self.status}"
        return f"nothing arrived at {self.url}: {answer}: {self.reason}"


class SpoolError(MetricsError, OSError):
    """The folder of queued messages cannot be used. The system's error is the cause.

    Attributes:
        path: The folder or file.
        reason: What is wrong with it.
    """

    path: str
    reason: str
    _message = "messages cannot be kept in {path!r}: {reason}"


class MissingExtraError(MetricsError, ImportError):
    """A feature needs a package that is not installed.

    Attributes:
        package: The missing package.
        extra: The extra of this library that installs it.
    """

    package: str
    extra: str
    _message = "{package} is not installed: pip install otel-aioprom[{extra}]"
