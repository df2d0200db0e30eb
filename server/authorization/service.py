"""The authorization server: requests for consent, codes, tokens, and their end.

A grant is the family of everything given for one consent. Whatever happens to its codes and tokens happens under its
lock, one after the other, and ending it ends them all. Access tokens of an ended grant are refused by `GrantCheck`.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from server.authorization.grants import Outcome, Situation, check_authorization, decide_revocation, decide_tokens
from server.authorization.model import (
    ACCESS_TOKEN_LIFETIME,
    AuthorizationRequest,
    ClientCredentials,
    ClientDirectory,
    ClientRefused,
    Denial,
    Grant,
    GrantRefused,
    RefusedRequest,
    RegisteredClient,
    Tokens,
    UntrustedRequest,
    grant_of,
    in_order,
    response_url,
)
from server.authorization.parameters import (
    CODE,
    REFRESH_TOKEN,
    Presented,
    echoed_state,
    find_presented,
    find_refresh_token,
    read_prompts,
    refuse_unspeakable,
    single,
)
from server.authorization.store import GrantStore
from server.authorization.throttle import current_admission
from server.errors import InvalidRequest, Unauthenticated, Violation
from server.identity.local_issuer import FIRST_PARTY_CLIENT, LocalIssuer
from server.identity.principal import AccessToken
from server.ids import new_grant_id
from server.postgres.pool import Connection, Database
from server.secret import Secret, draw_secret

_CLIENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
_SWEPT = 200
"""How many grants one step of a sweep deletes, with their codes and tokens."""
_TOKENS_SWEPT = 1000
"""How many used refresh tokens one step of a sweep deletes."""

_log = structlog.get_logger(__name__)


class AuthorizationService:
    """Gives tokens to clients, with their users' consent."""

    def __init__(
        self,
        database: Database,
        clients: ClientDirectory,
        issuer: LocalIssuer,
        *,
        issuer_url: str,
        verify: Callable[[str], Awaitable[AccessToken]],
        first_party: Iterable[RegisteredClient] = (),
    ) -> None:
        """Take what is needed.

        `issuer` signs as `issuer_url`; `verify` accepts what it signs, whatever the client, and raises Unauthenticated
        for all else; `first_party` are clients of our own, which are not in the directory.
        """
        self._database = database
        self._clients = clients
        self._issuer = issuer
        self._issuer_url = issuer_url
        self._verify = verify
        self._first_party = {client.id: client for client in first_party}

    async def check_request(self, parameters: Iterable[tuple[str, str]]) -> AuthorizationRequest:
        """Check a request to the authorization endpoint, given as it was sent: pairs of name and value.

        Raises:
            UntrustedRequest: the client or the redirect URI is not good; the answer must be a page.
            RefusedRequest: anything else is wrong; the answer is a redirect to the error's `url`.
            Unavailable: clients cannot be looked up now.
        """
        sent, repeated = single(parameters)
        client = await self._find_client(sent.get("client_id", ""))
        if client is None or "client_id" in repeated:
            raise UntrustedRequest("client_id", "must name one client that exists")
        redirect_uri = sent.get("redirect_uri", "")
        if redirect_uri not in client.redirect_uris or "redirect_uri" in repeated:
            raise UntrustedRequest("redirect_uri", "must be one that the client has registered, character by character")
        state = echoed_state(sent, repeated)
        try:
            refuse_unspeakable(sent, repeated)
            prompts = read_prompts(sent.get("prompt", ""))
            scopes = check_authorization(client, sent)
        except GrantRefused as refusal:
            told = [("error", refusal.error), ("error_description", refusal.sentence)]
            url, is_silent = self._answer(redirect_uri, state, told), "none" in sent.get("prompt", "").split()
            raise RefusedRequest(refusal.error, refusal.sentence, url, is_silent=is_silent) from None
        return AuthorizationRequest(
            client=client,
            redirect_uri=redirect_uri,
            scopes=scopes,
            state=state,
            code_challenge=sent["code_challenge"],
            prompts=prompts,
        )

    async def approve(self, request: AuthorizationRequest, subject: str, scopes: Collection[str]) -> str:
        """Give a client what its user allows, remember that, and return the address to send the user to.

        Raises:
            InvalidRequest: nothing is allowed, or more than was asked for.
            Unavailable: nothing was given.
        """
        allowed = in_order(scopes)
        if not allowed or not set(request.scopes).issuperset(scopes):
            raise InvalidRequest([Violation("scope", "must be some of what the client asks for")])
        grant_id, code = new_grant_id(), draw_secret(CODE)

        async def work(connection: Connection) -> None:
            store = GrantStore(connection)
            await store.create(grant_id, request, subject, allowed, code)
            if not request.client.is_first_party:
                await store.remember_consent(subject, request.client.id, asked=request.scopes, allowed=allowed)

        await self._database.transaction(work)
        _log.info("grant_given", grant_id=grant_id, client_id=request.client.id, scopes=allowed)
        return self._answer(request.redirect_uri, request.state, [("code", code.reveal())])

    def deny(self, request: AuthorizationRequest, error: Denial = "access_denied") -> str:
        """Return the address to send the user to when a client gets nothing."""
        return self._answer(request.redirect_uri, request.state, [("error", error)])

    async def consented(self, subject: str, client_id: str) -> tuple[str, ...]:
        """Return the scopes that a user allowed a client before, when last asked about each. Raises Unavailable."""
        return in_order(await GrantStore(self._database).find_consent(subject, client_id))

    async def give_tokens(self, credentials: ClientCredentials, parameters: Mapping[str, str]) -> Tokens:
        """Answer a request to the token endpoint, whose parameters are named as in RFC 6749 and RFC 7636.

        A code or refresh token that was used before, or is another client's, ends its grant and so all of its tokens.

        Raises:
            RateLimited: its address, or the confidential client, has asked too often.
            ClientRefused: the client did not prove itself; nothing else was looked at.
            GrantRefused: the request gets no tokens; its code or token is as before unless it ended its grant.
            Unavailable: whether tokens were given is not known.
        """
        client = await self._authenticate(credentials)
        given, _ = single(parameters.items())
        presented = find_presented(given)
        situation = Situation(client=client, method=credentials.method)
        if presented is None:
            outcome = decide_tokens(situation, given, self._sign)
        else:
            shown = presented

            async def work(connection: Connection) -> tuple[Situation, Outcome]:
                known = await _learn(GrantStore(connection), situation, shown)
                decided = decide_tokens(known, given, self._sign)
                await _carry_out(GrantStore(connection), known, decided, shown)
                return known, decided

            situation, outcome = await self._database.transaction(work)
        if outcome.ends_grant and situation.grant is not None:
            _log.warning(
                "grant_ended", grant_id=situation.grant.id, client_id=client.id, cause="used again or elsewhere"
            )
        if outcome.tokens is None:
            raise outcome.refusal or RuntimeError("a request for tokens was neither granted nor refused")
        return outcome.tokens

    async def revoke(self, credentials: ClientCredentials, parameters: Mapping[str, str]) -> None:
        """Answer a request to the revocation endpoint: end the grant of a refresh or access token (RFC 7009).

        A token that is not known, or is not good any more, is no error.

        Raises:
            RateLimited: its address, or the confidential client, has asked too often.
            ClientRefused: the client did not prove itself.
            GrantRefused: the token is missing, of another client, or of a kind that cannot be revoked.
            Unavailable: whether the token has ended is not known.
        """
        client = await self._authenticate(credentials)
        given, _ = single(parameters.items())
        situation = Situation(
            client=client, method=credentials.method, grant=await self._grant_of(given.get("token", ""))
        )
        outcome = decide_revocation(situation, given)
        if outcome.refusal is not None:
            raise outcome.refusal
        if outcome.ends_grant and situation.grant is not None:
            await GrantStore(self._database).revoke(situation.grant.id)
            _log.info("grant_ended", grant_id=situation.grant.id, client_id=client.id, cause="revoked")

    async def sweep(self) -> int:
        """Delete grants that ended an hour ago, in small steps, and return how many they were. Raises Unavailable.

        Of those that live on, used refresh tokens go when their own time is over. Until then a second use of one must
        end its family, for it might be the first to a thief (RFC 9700 section 4.14.2); after that it gives nothing.
        """
        store, deleted, step = GrantStore(self._database), 0, _SWEPT
        while step == _SWEPT:
            step = await store.sweep(_SWEPT)
            deleted += step
        while await store.sweep_refresh_tokens(_TOKENS_SWEPT) == _TOKENS_SWEPT:
            pass
        return deleted

    async def _find_client(self, client_id: str) -> RegisteredClient | None:
        if not _CLIENT_ID.fullmatch(client_id):
            return None
        return self._first_party.get(client_id) or await self._clients.find(client_id)

    async def _authenticate(self, credentials: ClientCredentials) -> RegisteredClient:
        """Return the client that credentials prove; a public one is whoever says so, and must not send a secret."""
        secret, admission = credentials.secret, current_admission()
        if admission:
            await (admission.count_address() if secret is None else admission.check_client(credentials.client_id))
        client = await self._find_client(credentials.client_id)
        if client is None or client.is_confidential != (secret is not None):
            raise ClientRefused(sent=secret is not None)
        if secret is not None and not await self._clients.authenticate(client.id, secret):
            raise ClientRefused(sent=True)
        if secret is not None and admission:
            await admission.count_client(client.id)
        return client

    async def _grant_of(self, text: str) -> Grant | None:
        """Find the grant of a token that is to be revoked."""
        store, refresh_token = GrantStore(self._database), find_refresh_token(text)
        if refresh_token is not None:
            return await store.lock(refresh_token)
        try:
            token = await self._verify(text)
        except Unauthenticated:
            return None
        if token.client_id == FIRST_PARTY_CLIENT:
            raise GrantRefused("unsupported_token_type", "token", "was made on the command line and ends by itself")
        grant_id = grant_of(token.token_id)
        return await store.find(grant_id) if grant_id else None

    def _sign(self, grant: Grant, scopes: tuple[str, ...]) -> Tokens:
        access_token = self._issuer.issue(
            grant.subject,
            client_id=grant.client_id,
            scope=" ".join(scopes),
            lifetime=ACCESS_TOKEN_LIFETIME,
            token_id=f"{grant.id}.{secrets.token_urlsafe(16)}",
        )
        return Tokens(access_token=Secret(access_token), refresh_token=draw_secret(REFRESH_TOKEN), scopes=scopes)

    def _answer(self, redirect_uri: str, state: str, parameters: Sequence[tuple[str, str]]) -> str:
        """Return a redirect URI with a response, the state as it was sent and who we are (RFC 9207)."""
        echo = [("state", state)] if state else []
        return response_url(redirect_uri, [*parameters, *echo, ("iss", self._issuer_url)])


async def _learn(store: GrantStore, situation: Situation, presented: Presented) -> Situation:
    """Read what a code or refresh token stands for, and hold its grant until the transaction ends."""
    grant = await store.lock(presented.secret)
    if grant is None:
        return situation
    if presented.parameter == "code":
        return replace(situation, grant=grant, code=await store.find_code(grant.id, presented.secret))
    return replace(situation, grant=grant, refresh_token=await store.find_refresh_token(grant.id, presented.secret))


async def _carry_out(store: GrantStore, situation: Situation, outcome: Outcome, presented: Presented) -> None:
    """Change what was decided."""
    grant = situation.grant
    if grant is not None and outcome.ends_grant:
        await store.revoke(grant.id)
    elif grant is not None and outcome.tokens is not None:
        use = store.use_code if presented.parameter == "code" else store.use_refresh_token
        held = await use(grant.id, presented.secret)
        if not held or not await store.add_refresh_token(grant.id, outcome.tokens.refresh_token):
            raise RuntimeError("a grant has changed although it was held")
