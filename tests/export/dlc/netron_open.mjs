// node netron_open.mjs NETRON_FOLDER FILE: what Netron's own model reader finds in FILE, as JSON on stdout.
// The host is all that Netron asks of its surroundings; everything else is the package's code, without a window.

import * as fs from 'node:fs';
import * as path from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, file] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(path.join(folder, name)));

const base = await load('base.js');
const view = await load('view.js');
const host = {
  type: 'Test',
  require: (id) => load(`${id}.js`),
  asset: async (name) => fs.readFileSync(path.join(folder, name), 'utf-8'),
  event: () => {},
  environment: () => undefined,
  exception: (error) => { throw error; }
};
const context = {
  identifier: path.basename(file),
  stream: new base.BinaryStream(new Uint8Array(fs.readFileSync(file))),
  entries: new Map(),
  asset: host.asset,
  require: host.require,
  fetch: async () => { throw new Error('no other files here'); },
  error: host.exception
};

const model = await new view.ModelFactoryService(host).open(context);
const [graph] = model.modules;
const value = (v) => ({ name: v.name, dtype: v.type ? v.type.dataType : null, shape: v.type ? Array.from(v.type.shape.dimensions) : null });
const argument = (a) => Array.isArray(a.value) ? a.value.map(value) : [];
const nodes = graph.nodes.map((node) => ({
  name: node.name,
  type: node.type.name,
  inputs: node.inputs.flatMap(argument),
  outputs: node.outputs.flatMap(argument)
}));
console.log(JSON.stringify({ format: model.format, source: model.source || null, version: model.version || null, inputs: graph.inputs.map((a) => a.name), nodes }));
