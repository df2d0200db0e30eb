"""BillingService over gRPC: messages to the service's terms and back, and nothing else."""

from typing import Any

from grpc.aio import ServicerContext
from sdk.billing.v1 import billing_service_pb2 as messages
from sdk.billing.v1 import billing_service_pb2_grpc
from sdk.usage.v1 import usage_pb2

from server.billing.model import Month, Statement, StatementLine, StreamDay
from server.billing.service import Statements
from server.identity.principal import current_principal
from server.times import format_time

Context = ServicerContext[Any, Any]

_MEDIA = {name.removeprefix("MEDIUM_").lower(): number for name, number in usage_pb2.Medium.items()}


class BillingService(billing_service_pb2_grpc.BillingServiceServicer):
    """What developers are billed for. Requests arrive parsed and validated, callers authenticated."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def ListStreamDays(
        self, request: messages.ListStreamDaysRequest, context: Context
    ) -> messages.ListStreamDaysResponse:
        """List the caller's streams by day."""
        developer_id = current_principal().developer_id
        days = await self._statements.stream_days(developer_id, request.first_day, request.last_day)
        return messages.ListStreamDaysResponse(days=map(_day, days))

    async def GetStatement(
        self, request: messages.GetStatementRequest, context: Context
    ) -> messages.GetStatementResponse:
        """Sum up one of the caller's months."""
        statement = await self._statements.statement(current_principal().developer_id, request.month)
        return messages.GetStatementResponse(statement=statement_message(statement))

    async def ListStatementLines(
        self, request: messages.ListStatementLinesRequest, context: Context
    ) -> messages.ListStatementLinesResponse:
        """List what one of the caller's statements sums up."""
        developer_id = current_principal().developer_id
        page = await self._statements.lines(developer_id, request.month, request.page_size, request.page_token)
        return messages.ListStatementLinesResponse(
            lines=[line_message(line, page.month) for line in page.lines], next_page_token=page.next_page_token
        )


def statement_message(statement: Statement) -> messages.Statement:
    """Convert a statement."""
    return messages.Statement(
        month=str(statement.month),
        closed=statement.closed,
        sums=[
            messages.StatementSum(
                client_id=each.client_id,
                medium=_MEDIA[each.medium],
                streams=each.streams,
                adjustments=each.adjustments,
            )
            for each in statement.sums
        ],
        streams=statement.streams,
        adjustments=statement.adjustments,
        total=statement.streams + statement.adjustments,
    )


def line_message(line: StatementLine, month: Month) -> messages.StatementLine:
    """Convert a line of a month's statement."""
    return messages.StatementLine(
        event_id=line.event_id,
        amount=line.amount,
        adjustment=line.acquired_at < month.start,
        acquired_at=format_time(line.acquired_at),
        posted_at=format_time(line.posted_at),
        client_id=line.client_id,
        medium=_MEDIA[line.medium],
        content_id=line.content_id,
        quality=line.quality,
    )


def _day(day: StreamDay) -> messages.StreamDay:
    return messages.StreamDay(
        day=day.day.isoformat(),
        client_id=day.client_id,
        medium=_MEDIA[day.medium],
        acquisitions=day.acquisitions,
        billable=day.billable,
    )
