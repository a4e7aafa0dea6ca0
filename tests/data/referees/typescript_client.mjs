// Asks every address on standard input what the official TypeScript client says of the server there: a line of JSON each.
// node typescript_client.mjs FOLDER, which has node_modules with the SDK, version 1 or 2.
import { existsSync, readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const PATIENCE_MS = 15000;
const AT_ONCE = 4;
const LISTS = {
  tools: 'listTools', resources: 'listResources', resource_templates: 'listResourceTemplates', prompts: 'listPrompts',
};
const packages = `${process.argv[2]}/node_modules/@modelcontextprotocol`;
const load = (path) => import(pathToFileURL(`${packages}/${path}`));
const first = existsSync(`${packages}/sdk`);
const { Client } = await load(first ? 'sdk/dist/esm/client/index.js' : 'client/dist/index.mjs');
const { StreamableHTTPClientTransport } = await load(first ? 'sdk/dist/esm/client/streamableHttp.js' : 'client/dist/index.mjs');

async function refusal(url, lists) {
  const client = new Client({ name: 'referee', version: '1' });
  const work = (async () => {
    await client.connect(new StreamableHTTPClientTransport(new URL(url)));
    for (const one of lists) await client[LISTS[one]]();
  })();
  work.catch(() => {});
  const late = new Promise((_, refuse) => setTimeout(() => refuse(new Error('no answer in time')), PATIENCE_MS));
  try {
    await Promise.race([work, late]);
    return null;
  } catch (error) {
    return String(error).slice(0, 300);
  } finally {
    client.close().catch(() => {});
  }
}

const asked = JSON.parse(readFileSync(0, 'utf8'));
async function lane() {
  while (asked.length) {
    const [name, url, lists] = asked.shift();
    console.log(JSON.stringify([name, await refusal(url, lists)]));
  }
}
process.on('unhandledRejection', () => {});
await Promise.all(Array.from({ length: AT_ONCE }, lane));
process.exit(0);
