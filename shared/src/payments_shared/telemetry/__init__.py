"""Spans of OpenTelemetry, recorded where an endpoint is configured and exported over OTLP.

Nothing imports this package but `payments_shared.process`, and that only when there is an endpoint: it is an extra, and
the only one that knows OpenTelemetry.
"""

from payments_shared.telemetry.exporting import Export, start_export
from payments_shared.telemetry.recorder import Recorder

__all__ = ["Export", "Recorder", "start_export"]
