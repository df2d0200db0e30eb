// A third party's application: authorization code with PKCE by `oauth4webapi`, which accepts nothing that the standards
// do not. Speaks lines of JSON: first its redirect URI; for each line of settings an authorization URL and, when the
// browser has come back, what it was given; or `error`.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import * as oauth from "oauth4webapi";

const insecure = { [oauth.allowInsecureRequests]: true };
const say = (message) => console.log(JSON.stringify(message));

let arrived = () => {};
const server = createServer((request, response) => {
  const url = new URL(request.url, redirectUri);
  response.setHeader("content-type", "text/html; charset=utf-8");
  response.end("<!doctype html><title>Third party</title><p id=done>You may close this window.</p>");
  if (url.pathname === "/callback") arrived(url);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const redirectUri = `http://127.0.0.1:${server.address().port}/callback`;
say({ redirect_uri: redirectUri });

async function discover(issuer) {
  const url = new URL(issuer);
  const response = await oauth.discoveryRequest(url, { algorithm: "oauth2", ...insecure });
  return oauth.processDiscoveryResponse(url, response);
}

async function run({ issuer, client_id, client_secret, scope, audience }) {
  const as = await discover(issuer);
  const client = { client_id };
  const authentication = client_secret ? oauth.ClientSecretBasic(client_secret) : oauth.None();
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(as.authorization_endpoint);
  const wishes = { client_id, redirect_uri: redirectUri, response_type: "code", scope, state };
  const challenge = await oauth.calculatePKCECodeChallenge(verifier);
  for (const [name, value] of Object.entries({ ...wishes, code_challenge: challenge, code_challenge_method: "S256" })) {
    url.searchParams.set(name, value);
  }
  const back = new Promise((resolve) => (arrived = resolve));
  say({ authorization_url: url.href });
  const parameters = oauth.validateAuthResponse(as, client, await back, state);
  const tokens = await exchange(as, client, authentication, parameters, verifier);
  const claims = await judge(as, tokens.access_token, audience);
  const renewed = await renew(as, client, authentication, tokens.refresh_token);
  await judge(as, renewed.access_token, audience);
  say({ access_token: renewed.access_token, refresh_token: renewed.refresh_token, scope: tokens.scope, claims });
}

async function exchange(as, client, authentication, parameters, verifier) {
  const request = [as, client, authentication, parameters, redirectUri, verifier, insecure];
  const response = await oauth.authorizationCodeGrantRequest(...request);
  return oauth.processAuthorizationCodeResponse(as, client, response);
}

async function renew(as, client, authentication, refreshToken) {
  const response = await oauth.refreshTokenGrantRequest(as, client, authentication, refreshToken, insecure);
  return oauth.processRefreshTokenResponse(as, client, response);
}

// As a resource server by RFC 9068 would: the signature by the published keys, `typ`, `iss`, `aud`, times.
async function judge(as, accessToken, audience) {
  const headers = { authorization: `Bearer ${accessToken}` };
  const request = new Request("https://resource.example/", { headers });
  return oauth.validateJwtAccessToken(as, request, audience, insecure);
}

async function revoke({ issuer, client_id, client_secret, token }) {
  const as = await discover(issuer);
  const authentication = client_secret ? oauth.ClientSecretBasic(client_secret) : oauth.None();
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, { client_id }, authentication, token, insecure));
  say({ revoked: true });
}

for await (const line of createInterface({ input: process.stdin })) {
  const wish = JSON.parse(line);
  try {
    await (wish.token ? revoke(wish) : run(wish));
  } catch (error) {
    say({ error: error.name, message: error.message, cause: error.cause?.error ?? String(error.cause ?? "") });
  }
}
server.close();
server.closeAllConnections();
