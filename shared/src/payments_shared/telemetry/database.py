"""Transactions at PostgreSQL as spans: one for each, with the names of its statements, and none for each of those."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any, Final

from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from payments_shared import tracing
from payments_shared.postgres import ImpatientConnection
from payments_shared.telemetry.recorder import failed

STATEMENTS_MAX: Final = 64
_NAME: Final = re.compile(r"\s*(?:-- (?P<name>\w+)\n|(?P<verb>[A-Za-z]+))")


class RecordedConnection(ImpatientConnection):
    """A span lasts from BEGIN to COMMIT or ROLLBACK. A statement outside any transaction is one of its own.

    Only what belongs to a trace is recorded: sweeps and the relay would tell, all day long, that nothing is due.
    """

    _transaction: Span | None = None
    _statements: list[str] | None = None  # of the transaction that is open

    async def execute(self, query: str, *args: Any, **options: Any) -> str:  # Any: the base class's own
        if query.startswith("BEGIN"):
            self._begin()
            try:
                return await super().execute(query, *args, **options)
            except BaseException as error:
                self._end("begin", error)
                raise
        if query in ("COMMIT;", "ROLLBACK;"):
            return await self._ended_by(query, *args, **options)
        with self._statement(query):
            return await super().execute(query, *args, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> None:  # Any: the base class's own
        with self._statement(command):
            await super().executemany(command, args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:  # Any: the base class's own
        with self._statement(query):
            return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:  # Any: the base class's own
        with self._statement(query):
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:  # Any: the base class's own
        with self._statement(query):
            return await super().fetchval(query, *args, **options)

    def _begin(self) -> None:
        self._transaction, self._statements = self._started("transaction"), []

    async def _ended_by(self, query: str, *args: Any, **options: Any) -> str:  # Any: as above
        try:
            status = await super().execute(query, *args, **options)
        except BaseException as error:
            self._end("unknown", error)
            raise
        self._end("committed" if query == "COMMIT;" else "rolled back")
        return status

    def _end(self, outcome: str, error: BaseException | None = None) -> None:
        span, self._transaction = self._transaction, None
        statements, self._statements = self._statements or [], None
        if span is None:
            return
        span.set_attribute("payments.outcome", outcome)
        span.set_attribute("db.operation.batch.size", len(statements))
        span.set_attribute("payments.statements", statements[:STATEMENTS_MAX])
        if error is not None:
            failed(span, error)
        span.end()

    @contextlib.contextmanager
    def _statement(self, query: str) -> Iterator[None]:
        name = name_of(query)
        if self._statements is not None:
            self._statements.append(name)
            yield
            return
        span = self._started(name)
        try:
            yield
        except BaseException as error:
            if span is not None:
                failed(span, error)
            raise
        finally:
            if span is not None:
                span.end()

    def _started(self, name: str) -> Span | None:
        current = tracing.current_traceparent()
        if tracing.recorder is None or current is None or not tracing.is_sampled(current):
            return None
        attributes: dict[str, AttributeValue] = {"db.system.name": "postgresql", "db.query.summary": name}
        return tracing.recorder.start(name, current, SpanKind.CLIENT, attributes)


def name_of(query: str) -> str:
    """What a statement is called in `queries.sql`, or its verb."""
    found = _NAME.match(query)
    return (found["name"] or found["verb"].upper()) if found else "statement"
