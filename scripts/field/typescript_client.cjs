// The official TypeScript client as a referee: does it connect to a server and list its tools?
// The first argument is the package.json of the folder that has the SDK, the second JSON as for python_client.py.
const { createRequire } = require('node:module');

const [, , folder, text] = process.argv;
const asked = JSON.parse(text);
const load = createRequire(folder);
const { Client, StreamableHTTPClientTransport, SSEClientTransport } = load('@modelcontextprotocol/client');
const { StdioClientTransport } = load('@modelcontextprotocol/client/stdio');

const way = () => {
  if (asked.url === undefined) {
    return new StdioClientTransport({
      command: asked.command, args: asked.args, env: asked.env, cwd: asked.cwd, stderr: 'ignore',
    });
  }
  const url = new URL(asked.url);
  return asked.transport === 'sse' ? new SSEClientTransport(url) : new StreamableHTTPClientTransport(url);
};

const judge = async () => {
  const client = new Client({ name: 'referee', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(way(), { timeout: asked.seconds * 1000 });
  const listed = client.getServerCapabilities()?.tools
    ? await client.listTools(undefined, { timeout: asked.seconds * 1000 }) : null;
  return { accepts: true, tools: listed === null ? null : listed.tools.length };
};

const say = (said) => process.stdout.write(`\n${JSON.stringify(said)}\n`, () => process.exit(0));
judge().then(say, (error) => say({ accepts: false, error: `${error?.name}: ${error?.message}`.slice(0, 300) }));
