/** The parameters of a sign-in at an issuer. */
export interface Oidc {
  issuer: string;
  clientId: string;
  scope: string;
  /** The audience that the API expects in a token, if it expects one. */
  audience: string | null;
}

/** What the server tells a page about itself: it writes the JSON into the page that it sends. */
export interface Config {
  /** The path of the GraphQL endpoint, below the path where the application is mounted. */
  path: string;
  title: string;
  version: string;
  board: boolean;
  playground: boolean;
  /** Whether each request needs a token. */
  authentication: boolean;
  /** The issuer that signs people in; null where they enter a token. */
  oidc: Oidc | null;
}

const DEFAULTS: Config = {
  path: '/graphql',
  title: 'gql-api',
  version: '',
  board: true,
  playground: true,
  authentication: false,
  oidc: null,
};

function readConfig(): Config {
  const text = document.getElementById('config')?.textContent ?? '{}';
  return { ...DEFAULTS, ...(JSON.parse(text) as Partial<Config>) };
}

export const config = readConfig();
