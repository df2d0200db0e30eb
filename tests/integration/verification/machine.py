"""A machine that does things to two servers and to the model of what is true, and compares what they say.

The model knows every state that a secret was in and since when, and the oldest one that each server may remember. What
was heard, what the server changed itself and what was read anew is never answered as it was before; all else is not
after 5 seconds, or 1 while changes cannot be heard. Limits are exact, and no answer is given only when there is none.

The machine runs in a thread with an event loop of its own, since Hypothesis drives it from outside of any. All times
are whole quarters of a second, which floating point holds exactly.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from server.errors import Conflict
from server.keys.model import Environment
from server.keys.replay import Issued
from server.keys.secret import draw
from server.keys.service import CreateKey, UpdateKey
from server.rotation import MAXIMUM_LIVE_SECRETS
from server.times import format_time
from server.verification import replicas
from server.verification.model import Presented, Question
from server.verification.service import Answer
from server.verification.verdict import Verdict
from tests.integration.keys.vault import GRACE, acting, register, rotation
from tests.integration.verification.truth import (
    LIFETIME,
    TIERS,
    UNHEARD_LIFETIME,
    WINDOW,
    ModelDeveloper,
    ModelKey,
    ModelSecret,
    State,
    is_over,
)
from tests.integration.verification.two_servers import SECOND, Server, World, world
from tests.unit.limits.windows import Log

QUARTER = 0.25
QUESTIONS = st.builds(
    Question,
    required_scopes=st.sampled_from([(), (), ("read",), ("stream",)]),
    environment=st.sampled_from(["", "", "live", "test"]),
    cost=st.sampled_from([1, 1, 2]),
    fresh=st.booleans(),
    explain=st.booleans(),
)
SCOPES = st.sampled_from([("read",), ("stream", "read")])
SERVERS = st.sampled_from([0, 1])
NTH = st.sampled_from([0, 0, 0, 1, 2])
SPANS = st.sampled_from([0.0, QUARTER, 1.0, LIFETIME - QUARTER, LIFETIME, 60.0, GRACE.total_seconds()])
LIFETIMES = st.sampled_from([None, None, 2.0, LIFETIME + QUARTER, GRACE.total_seconds()])
RATES = st.sampled_from([None, 1, 5])
Change: TypeAlias = "Callable[[Verification, ModelKey, int], None]"
CHANGES: st.SearchStrategy[Change] = st.sampled_from(
    [
        lambda machine, key, by: machine.rotate(key, by, at_once=True),
        lambda machine, key, by: machine.revoke(key, by, wait=False),
        lambda machine, key, by: machine.suspend_or_forgive(key),
        lambda machine, key, by: machine.change_rate(key, None if key.rate else 1),
    ]
)


class Verification(RuleBasedStateMachine):
    """Does things to keys and servers, and to the model."""

    world: World
    keys = Bundle("keys")

    @initialize(target=keys, lifetime=LIFETIMES)
    def begin(self, lifetime: float | None) -> MultipleResults[ModelKey]:
        self.log = Log()
        self.made: list[ModelKey] = []
        self.counted = [server.replica.counters.pending_calls for server in self.world.servers]
        self.stranger = draw(Environment.LIVE).reveal()
        owners = [ModelDeveloper(self.run(register(self.world.database, f"{self.stranger}-{n}"))) for n in range(2)]
        for owner in owners:
            self._execute("UPDATE developers SET tier = 'small' WHERE id = $1", owner.id)
        return multiple(*(self.create(owner, ("read",), lifetime, 0) for owner in owners))

    def teardown(self) -> None:
        self.heal()

    def run(self, work: Any) -> Any:
        return self.world.run(work)

    def _execute(self, statement: str, *arguments: object) -> None:
        self.run(self.world.database.execute(statement, *arguments))

    def _server(self, at: int) -> Server:
        return self.world.servers[at]

    # Changes

    def create(self, owner: ModelDeveloper, scopes: tuple[str, ...], lifetime: float | None, by: int) -> ModelKey:
        expires_at = self._after(lifetime)
        wish = CreateKey(
            name="Production", scopes=scopes, environment=None, expires_at=format_time(expires_at), request_id=""
        )
        issued = self.run(self._server(by).replica.keys.create(acting(owner.id), wish))
        key = ModelKey(id=issued.key.id, owner=owner, scopes=scopes, expires_at=expires_at)
        self.made.append(key)
        self._issue(key, issued, by)
        return key

    def _issue(self, key: ModelKey, issued: Issued, by: int) -> None:
        key.secrets.append(ModelSecret(issued.secret.reveal()))
        self._note(key, by)

    def _note(self, key: ModelKey | None = None, by: int = 0) -> None:
        """Take down what has changed: those who hear are told, and who changed a key itself knows of that key."""
        for each in self.made:
            for secret in each.secrets:
                state = each.state(secret)
                if not secret.past or secret.past[-1][1] != state:
                    secret.past.append((self.world.elapsed, state))
                    for at, server in enumerate(self.world.servers):
                        secret.told[at] = secret.newest if server.hears else secret.told[at]
                if each is key:
                    secret.oldest[by] = secret.newest

    @rule(target=keys, beside=keys, scopes=SCOPES, lifetime=LIFETIMES, by=SERVERS)
    def create_another(self, beside: ModelKey, scopes: tuple[str, ...], lifetime: float | None, by: int) -> ModelKey:
        return self.create(beside.owner, scopes, lifetime, by)

    @rule(key=keys, by=SERVERS, at_once=st.booleans())
    def rotate(self, key: ModelKey, by: int, at_once: bool) -> None:
        live = [secret for secret in key.secrets if not is_over(secret.ends_at, self.world.now)]
        if not key.may_change(self.world.now) or (len(live) == MAXIMUM_LIVE_SECRETS and not at_once):
            return
        wish = rotation(key.id, expire_previous_now=at_once)
        issued = self.run(self._server(by).replica.keys.rotate(acting(key.owner.id), wish))
        for secret in live if at_once else live[-1:]:
            secret.ends_at = issued.previous_expires_at
        self._issue(key, issued, by)

    @rule(key=keys, by=SERVERS, wait=st.booleans())
    def revoke(self, key: ModelKey, by: int, wait: bool) -> None:
        work = self._server(by).replica.keys.revoke(acting(key.owner.id), key.id, wait=wait)
        with (
            patch.object(replicas, "LIFETIME_SECONDS", LIFETIME if self._all_hear else 0.05),
            pytest.raises(Conflict) if key.revoked else nullcontext(),
        ):
            self.run(work)
        key.revoked = True
        for secret in key.secrets:
            secret.ends_at = min(secret.ends_at or self.world.now, self.world.now)
        self._note(key, by)
        if wait and self._all_hear:
            self._heard()
        elif wait:
            self._wait(LIFETIME)  # which is how long it would have taken

    @rule(key=keys, by=SERVERS, lifetime=LIFETIMES)
    def change_expiry(self, key: ModelKey, by: int, lifetime: float | None) -> None:
        if not key.may_change(self.world.now):
            return
        key.expires_at = self._after(lifetime)
        wish = UpdateKey(id=key.id, name="", expires_at=format_time(key.expires_at), paths=("expires_at",))
        self.run(self._server(by).replica.keys.update(acting(key.owner.id), wish))
        self._note(key, by)

    @rule(key=keys)
    def suspend_or_forgive(self, key: ModelKey) -> None:
        key.owner.suspended = not key.owner.suspended
        change = "UPDATE developers SET suspended_at = CASE WHEN $2 THEN clock() END WHERE id = $1"
        self._execute(change, key.owner.id, key.owner.suspended)
        self._note()

    @rule(key=keys, tier=st.sampled_from(sorted(TIERS)))
    def change_tier(self, key: ModelKey, tier: str) -> None:
        key.owner.tier = tier
        self._execute("UPDATE developers SET tier = $2 WHERE id = $1", key.owner.id, tier)
        self._note()

    @rule(key=keys, rate=RATES)
    def change_rate(self, key: ModelKey, rate: int | None) -> None:
        key.rate = rate
        seconds = None if rate is None else WINDOW
        self._execute("UPDATE api_keys SET rate_requests = $2, rate_seconds = $3 WHERE id = $1", key.id, rate, seconds)
        self._note()

    # Time and faults

    @rule(seconds=SPANS)
    def time_passes(self, seconds: float) -> None:
        self._wait(seconds)

    @rule(key=keys, nth=NTH, early=st.sampled_from([0.0, QUARTER]))
    def a_deadline_comes(self, key: ModelKey, nth: int, early: float) -> None:
        ends = [end for end in (key.expires_at, key.secret(nth).ends_at) if end and end > self.world.now]
        if ends:
            self._wait((min(ends) - self.world.now).total_seconds() - early)

    def _wait(self, seconds: float) -> None:
        self.run(self.world.advance(seconds))

    def _after(self, lifetime: float | None) -> datetime | None:
        return None if lifetime is None else self.world.now + timedelta(seconds=lifetime)

    @property
    def _all_hear(self) -> bool:
        return all(server.hears for server in self.world.servers)

    @rule()
    def everything_is_heard(self) -> None:
        if self._all_hear:
            self.run(self._server(0).replica.hear_everything())
            self._heard()

    def _heard(self) -> None:
        for key in self.made:
            for secret in key.secrets:
                secret.oldest = list(map(max, secret.oldest, secret.told))

    @rule(key=keys, at=SERVERS, killed=st.booleans(), seconds=SPANS)
    def a_change_goes_unheard(self, key: ModelKey, at: int, killed: bool, seconds: float) -> None:
        """Kill a listener, or lose what it is told and nobody knows; and go on."""
        server = self._server(at)
        if killed and not server.cut_off:
            self.run(server.cut())
            self._forgotten(at)
        elif self._all_hear:
            self.everything_is_heard()
            server.deafen()
        self.answers_are_true_or_as_old_as_is_allowed()
        self.suspend_or_forgive(key)
        self._wait(seconds)

    @rule(at=SERVERS)
    def reads_fail(self, at: int) -> None:
        self._server(at).source.away = True

    @rule(at=SERVERS)
    def the_cache_is_emptied(self, at: int) -> None:
        self._server(at).empty()
        self._forgotten(at)

    @rule()
    def heal(self) -> None:
        for at, server in enumerate(self.world.servers):
            was_cut_off = server.cut_off
            self.run(server.heal())
            if was_cut_off:
                self._forgotten(at)

    def _forgotten(self, at: int) -> None:
        for key in self.made:
            for secret in key.secrets:
                secret.oldest[at] = secret.newest

    # Questions

    @rule(key=keys, nth=NTH, at=SERVERS, question=QUESTIONS)
    def verify(self, key: ModelKey, nth: int, at: int, question: Question) -> None:
        self._ask([(key, key.secret(nth), question)], at)

    @rule(asked=st.lists(st.tuples(keys, NTH, QUESTIONS), min_size=1, max_size=5), at=SERVERS)
    def verify_batch(self, asked: list[tuple[ModelKey, int, Question]], at: int) -> None:
        batch = [(key, key.secret(nth), question) for key, nth, question in asked]
        self._ask(batch, at, together=True)

    @invariant()
    def answers_are_true_or_as_old_as_is_allowed(self) -> None:
        """Look at the newest keys and secrets on both servers, which remember what they say until the next step."""
        for at in (0, 1):
            secrets = [(key, secret) for key in self.made[-4:] for secret in key.secrets[-3:]]
            self._ask([(key, secret, Question(explain=True)) for key, secret in secrets], at)

    def _ask(self, asked: Sequence[tuple[ModelKey, ModelSecret, Question]], at: int, *, together: bool = False) -> None:
        server = self._server(at)
        horizon = self.world.elapsed - (UNHEARD_LIFETIME if server.cut_off else LIFETIME)
        possible = [secret.possible(at, horizon, fresh=question.fresh) for _, secret, question in asked]
        batch = [Presented(secret.text, question) for _, secret, question in asked]
        answers = self.run(server.ask_all(batch) if together else server.ask_each(batch))
        answers = answers or [None] * len(asked)
        for (key, secret, question), states, answer in zip(asked, possible, answers, strict=True):
            if answer is None:
                assert server.source.away
                continue
            assert not (question.fresh and server.source.away)
            self._check(key, states, question, answer)
            self.counted[at] += not question.explain
            if question.fresh:
                secret.oldest[at] = secret.newest
        assert server.replica.counters.pending_calls == self.counted[at]

    def _check(self, key: ModelKey, possible: Sequence[State], question: Question, answer: Answer) -> None:
        assert answer.entry
        state = State.of(answer.entry.key)
        assert state in possible
        now, claims = int(self.world.elapsed * SECOND), key.claims(state)
        fits = all(self.log.used(claim, now) + question.cost <= claim.rate.requests for claim in claims)
        expected = key.verdict(state, question, self.world.now)
        if expected is Verdict.VALID and not fits:
            expected = Verdict.RATE_LIMITED
        assert answer.verdict is expected
        if question.explain:
            assert next((verdict for verdict, passed in answer.checks if not passed), Verdict.VALID) is expected
        elif expected is Verdict.VALID:
            self.log.add(claims, question.cost, now)

    @rule(at=SERVERS, fresh=st.booleans())
    def verify_what_is_no_key(self, at: int, fresh: bool) -> None:
        server, question = self._server(at), Question(fresh=fresh)
        malformed, stranger = self.run(server.ask_each([Presented(text, question) for text in ("x", self.stranger)]))
        assert malformed.verdict is Verdict.MALFORMED
        assert stranger.verdict is Verdict.NOT_FOUND if stranger else server.source.away

    @rule(key=keys, nth=NTH, at=SERVERS, by=SERVERS, change=CHANGES)
    def a_change_overtakes_a_read(self, key: ModelKey, nth: int, at: int, by: int, change: Change) -> None:
        server, secret, question = self._server(at), key.secret(nth), Question(fresh=True, explain=True)
        if server.source.away:
            return
        began = secret.newest
        asked = self.run(server.source.hold(server.ask(secret.text, question)))
        change(self, key, by)
        self.everything_is_heard()
        answer = self.run(server.source.release(asked))
        oldest = max(began, secret.oldest[at])  # what it had heard before it answered is in its answer
        self._check(key, [state for _, state in secret.past[oldest:]], question, answer)


def explore(database_url: str, *, examples: int, derandomize: bool = False) -> None:
    """Run the machine; blocks for as long as that takes."""
    with world(database_url) as over:
        for name, (rate, developer_rate) in TIERS.items():
            values = name, rate, WINDOW, developer_rate
            over.run(over.database.execute("INSERT INTO tiers VALUES ($1, $2, $3, $4, NULL, 1000, 10)", *values))
        run_state_machine_as_test(
            type("VerificationHere", (Verification,), {"world": over}),
            settings=settings(
                max_examples=examples,
                stateful_step_count=40,
                deadline=None,
                database=None,
                derandomize=derandomize,
                phases=[Phase.generate] if derandomize else [Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
