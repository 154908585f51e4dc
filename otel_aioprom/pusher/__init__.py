"""Pushing to a Pushgateway or to VictoriaMetrics: from an event loop, without one, and once at the end of a job."""

from __future__ import annotations

from otel_aioprom._transport.retry import Retry
from otel_aioprom.pusher.blocking import BlockingPusher, PushResult
from otel_aioprom.pusher.jobs import job_metrics
from otel_aioprom.pusher.pusher import Pusher

__all__ = ["BlockingPusher", "PushResult", "Pusher", "Retry", "job_metrics"]
