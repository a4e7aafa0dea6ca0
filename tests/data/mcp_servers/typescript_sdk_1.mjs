// A server of the TypeScript SDK 1 over stdio: PACKAGE_JSON of the folder it is installed in.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const require = createRequire(process.argv[2]);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { McpServer } = await load('@modelcontextprotocol/sdk/server/mcp.js');
const { StdioServerTransport } = await load('@modelcontextprotocol/sdk/server/stdio.js');
const server = new McpServer({ name: 'demo', version: '1' });
server.registerTool('hello', { description: 'Say hello.' }, async () => ({ content: [] }));
await server.connect(new StdioServerTransport());
