"""Which events enter the ledger and what each is told. What is billable of them, the store's `settle` says."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from server.errors import Violation
from server.metering.ledger.model import Acquisition, Faulty, Outcome, Recount, Result
from server.metering.ledger.store import Entry, LedgerStore, Survey
from server.postgres.pool import Database

_AT_ONCE = 250
"""Events of one transaction: 15 ms of work, so that whoever waits for its locks gets them well within the budget."""


class StreamLedger:
    """Enters each event once, however often and in whatever order it is sent, from any number of servers at once.

    An event is billable unless an earlier one of the same logical stream had a URL that was still good; earlier is what
    happened earlier, and of two at the same moment the one with the smaller id. So the bill does not depend on arrival:
    an earlier event that arrives late takes back what it covers, in its own transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, events: Sequence[Acquisition | Faulty]) -> list[Result]:
        """Enter events and tell what became of each, in their order.

        Each transaction takes up to `_AT_ONCE` of them, the earliest first, so that none takes back what one before it
        has told. Events of one id stay together and in their order: the first that is fit is entered.

        Raises:
            Unavailable: some may have been entered; sending all again is safe and tells what became of each.
        """
        results = {place: _refused(event) for place, event in enumerate(events) if isinstance(event, Faulty)}
        acquisitions = {place: event for place, event in enumerate(events) if isinstance(event, Acquisition)}
        begins: dict[str, datetime] = {}
        for event in acquisitions.values():
            begins.setdefault(event.event_id, event.acquired_at)
        ordered = sorted(
            acquisitions, key=lambda place: (begins[acquisitions[place].event_id], acquisitions[place].event_id, place)
        )
        for start in range(0, len(ordered), _AT_ONCE):
            places = ordered[start : start + _AT_ONCE]
            results |= zip(places, await self._enter([acquisitions[place] for place in places]), strict=True)
        return [results[place] for place in range(len(events))]

    async def recount(self, developer_id: str, month: date) -> Recount:
        """Find the sums of a developer's month (UTC), of which `month` is any day, in every way that there is.

        It reads every event of the month: for many millions, give the ledger a `Database` with a budget of minutes.

        Raises:
            Unavailable: it could not be done within the database's budget.
        """
        start = datetime(month.year, month.month, 1, tzinfo=UTC)
        end = (start + timedelta(days=31)).replace(day=1)
        return await LedgerStore(self._database).recount(developer_id, start, end)

    async def _enter(self, acquisitions: Sequence[Acquisition]) -> list[Result]:
        return await self._database.transaction(lambda connection: _enter(LedgerStore(connection), acquisitions))


async def _enter(store: LedgerStore, acquisitions: Sequence[Acquisition]) -> list[Result]:
    """Enter events inside a transaction, by a number of statements that does not depend on how many they are."""
    intake = _Intake(acquisitions, await store.survey(acquisitions))
    if intake.new:
        await _enter_new(store, intake)
    return [intake.result(place) for place in range(len(acquisitions))]


async def _enter_new(store: LedgerStore, intake: "_Intake") -> None:
    """Add what is new; of an id that another transaction used meanwhile, learn what it was used for.

    The locks are held before the events are added and until all is committed, so each transaction of a logical stream
    sees what those before it have entered. An id is not locked: its uniqueness decides between two logical streams.
    """
    new = [intake.acquisitions[place] for place in intake.new.values()]
    streams = [acquisition.logical_stream for acquisition in new]
    await store.lock(streams)
    entered = set(await store.enter(new, streams))
    intake.settle(entered, await store.settle(list(entered)))
    lost = [acquisition for acquisition in new if acquisition.event_id not in entered]
    if lost:
        intake.lose([survey.entry for survey in await store.survey(lost)])


class _Intake:
    """The events of one transaction by their places: which are new and fit to be entered, and what the others are."""

    def __init__(self, acquisitions: Sequence[Acquisition], surveys: Sequence[Survey]) -> None:
        self.acquisitions = acquisitions
        self.entries: dict[str, Entry] = {}  # what the ledger has, by event id
        self.new: dict[str, int] = {}  # the place of the first fit event of each id that the ledger has not
        self._faults: dict[int, list[Violation]] = {}
        for place, (acquisition, survey) in enumerate(zip(acquisitions, surveys, strict=True)):
            if survey.entry is not None:
                self.entries[acquisition.event_id] = survey.entry
            elif faults := _find_faults(acquisition, survey):
                self._faults[place] = faults
            else:
                self.new.setdefault(acquisition.event_id, place)

    def settle(self, entered: Collection[str], billable: Mapping[str, bool]) -> None:
        """Take note of the events that were entered, and of known ones that they have taken back."""
        for event_id in entered:
            self.entries[event_id] = Entry(self.acquisitions[self.new[event_id]], billable[event_id])
        for event_id in self.entries.keys() & billable.keys():
            self.entries[event_id] = self.entries[event_id]._replace(billable=billable[event_id])

    def lose(self, entries: Iterable[Entry | None]) -> None:
        """Take note of the entries of others under ids that were new before.

        Raises:
            LookupError: there is none, which is a fault of ours.
        """
        for entry in entries:
            if entry is None:
                raise LookupError("an event that exists was not found")
            del self.new[entry.acquisition.event_id]
            self.entries[entry.acquisition.event_id] = entry

    def result(self, place: int) -> Result:
        """Tell what became of the event at a place."""
        acquisition = self.acquisitions[place]
        event_id = acquisition.event_id
        if faults := self._faults.get(place):
            return Result(event_id=event_id, outcome=Outcome.REFUSED, violations=faults)
        entry = self.entries[event_id]
        if entry.acquisition != acquisition:
            used = Violation("event_id", "was used for another event: send each event under an id of its own")
            return Result(event_id=event_id, outcome=Outcome.REFUSED, violations=[used])
        if self.new.get(event_id) != place:
            return Result(event_id=event_id, outcome=Outcome.DUPLICATE, billable=entry.billable)
        outcome = Outcome.BILLABLE if entry.billable else Outcome.SAME_STREAM
        return Result(event_id=event_id, outcome=outcome, billable=entry.billable)


def _find_faults(acquisition: Acquisition, survey: Survey) -> list[Violation]:
    unknown = [] if survey.developer_exists else [Violation("developer_id", "is no registered developer")]
    return unknown + acquisition.find_faults(survey.now)


def _refused(event: Faulty) -> Result:
    return Result(event_id=event.event_id, outcome=Outcome.REFUSED, violations=event.violations)
