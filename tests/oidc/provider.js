// A real OpenID provider (panva's oidc-provider) over HTTPS on loopback, for the tests of workload identity.
//
//   node provider.js PORT CERTIFICATE KEY CLAIMS
//
// CLAIMS is a JSON file: what the tokens of each client say beside the standard claims. A client's secret is its name. Tokens
// are asked for with the client credentials grant and a `resource`, which becomes their audience. SIGHUP rotates the keys: the
// new one signs, the old one is still published.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import Provider from 'oidc-provider';

const [port, certificate, key, claimsFile] = process.argv.slice(2);
const issuer = `https://localhost:${port}`;
const claims = JSON.parse(readFileSync(claimsFile, 'utf8'));
let keys = [];

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', kid: `key-${Date.now()}-${keys.length}` };
}

function provider() {
  keys = [newKey(), ...keys].slice(0, 2);
  return new Provider(issuer, {
    jwks: { keys },
    scopes: ['push'],
    clients: Object.keys(claims).map((name) => ({
      client_id: name,
      client_secret: name,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_post',
    })),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context, resource) => ({
          scope: 'push',
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    extraTokenClaims: (context, token) => claims[token.clientId],
  }).callback();
}

let answer = provider();
process.on('SIGHUP', () => {
  answer = provider();
  console.log(`rotated to ${keys[0].kid}`);
});
process.on('SIGTERM', () => process.exit(0));
https
  .createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => answer(request, response))
  .listen(Number(port), '127.0.0.1', () => console.log(`ready at ${issuer}`));
