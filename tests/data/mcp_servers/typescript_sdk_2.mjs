// A server of the TypeScript SDK 2: PORT [modern], or stdio PACKAGE_JSON. With "modern" it refuses the session era.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const require = createRequire(process.argv[2] === 'stdio' ? process.argv[3] : process.cwd() + '/');
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { McpServer, createMcpHandler } = await load('@modelcontextprotocol/server');
const { toNodeHandler, localhostHostValidation, localhostOriginValidation } = await load('@modelcontextprotocol/node');
const make = () => {
  const server = new McpServer({ name: 'demo', version: '1' });
  server.registerTool('hello', { description: 'Say hello.' }, async () => ({ content: [] }));
  return server;
};
if (process.argv[2] === 'stdio') {
  const { serveStdio } = await load('@modelcontextprotocol/server/stdio');
  serveStdio(make);
} else {
  const options = process.argv[3] === 'modern' ? { legacy: 'reject' } : {};
  const handle = toNodeHandler(createMcpHandler(make, options));
  const host = localhostHostValidation(), origin = localhostOriginValidation();
  createServer((q, r) => host(q, r) && origin(q, r) && handle(q, r)).listen(+process.argv[2], '127.0.0.1');
}
