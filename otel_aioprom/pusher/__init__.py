"""Push to a Pushgateway or VictoriaMetrics: from asyncio, from blocking code, and at the end of a batch job."""

from __future__ import annotations

from otel_aioprom._transport.retry import Retry as Retry
from otel_aioprom.pusher.blocking import BlockingPusher as BlockingPusher
from otel_aioprom.pusher.blocking import PushResult as PushResult
from otel_aioprom.pusher.jobs import job_metrics as job_metrics
from otel_aioprom.pusher.pusher import Pusher as Pusher
