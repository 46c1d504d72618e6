// A real OpenID Connect provider with people in a file: node oidc_provider.mjs PORT PEOPLE HUB_URL…
import { readFileSync } from "node:fs";
import Provider, { errors } from "oidc-provider";

const [port, people, ...hubs] = process.argv.slice(2);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "hub",
      client_secret: "secret-of-the-hub",
      redirect_uris: hubs.map((url) => `${url}/hub/oauth_callback`),
      post_logout_redirect_uris: hubs.map((url) => `${url}/hub/logout`),
      grant_types: ["authorization_code", "refresh_token"],
      token_endpoint_auth_method: "client_secret_post",
    },
  ],
  clientAuthMethods: ["client_secret_post"],
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
  pkce: { required: () => true },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  ttl: {
    AccessToken: 2,
    RefreshToken: 86400,
    Grant: 86400,
    Session: 86400,
    Interaction: 600,
  },
  cookies: { keys: ["tests only"] },
  findAccount: (_, id) => {
    const person = JSON.parse(readFileSync(people, "utf8"))[id];
    if (person?.disabled) {
      throw new errors.CustomOIDCProviderError(
        "invalid_grant",
        "User disabled",
      );
    }
    return (
      person && {
        accountId: id,
        claims: () => ({
          sub: id,
          preferred_username: person.name ?? id,
          groups: person.groups,
        }),
      }
    );
  },
});

provider.listen(Number(port), "127.0.0.1");
