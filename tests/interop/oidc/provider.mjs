// An independent OpenID Connect provider (npm: oidc-provider) on a free loopback port, for tests of a foreign issuer.
//
// node provider.mjs AUDIENCE CLIENT_ID...
//
// Prints one JSON line when it listens and one after each command. Commands, a word a line on stdin:
//   rotate    sign with a new key, publish it beside the earlier ones
//   withdraw  publish the newest key only
// The end of stdin ends the process, so it never outlives its parent.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const [audience, ...clientIds] = process.argv.slice(2);
const clientSecret = "only-for-tests-on-a-loopback-port";

console.info = console.error; // stdout is for the answers below

let keys = [newKey()];
let handle;

const server = createServer((request, response) => handle(request, response));
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  serve(issuer);
  say({ issuer, client_secret: clientSecret });
  createInterface({ input: process.stdin })
    .on("line", (command) => {
      if (command === "rotate") keys = [newKey(), ...keys];
      if (command === "withdraw") keys = keys.slice(0, 1);
      serve(issuer);
      say({ key_ids: keys.map((key) => key.kid) });
    })
    .on("close", () => process.exit(0));
});

function newKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };
}

function serve(issuer) {
  handle = new Provider(issuer, {
    jwks: { keys },
    cookies: { keys: [randomUUID()] },
    clients: clientIds.map((client_id) => ({
      client_id,
      client_secret: clientSecret,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    })),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        getResourceServerInfo: () => ({
          audience,
          scope: "read stream",
          accessTokenFormat: "jwt",
          accessTokenTTL: 3600,
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  }).callback();
}

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
