// node wasm_threads.mjs CONFIG: one package with several numbers of threads, round by round.
//   CONFIG {"package": folder, "threads": [numbers], "seconds": number, "feeds": {input: file of raw bytes}}
// Prints JSON: {"node", "rows": {threads: {"wall": [ms...], "same": whether all outputs are those of the first number}}}
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { load } = await import(pathToFileURL(`${config.package}/model.mjs`).href);
const models = new Map();
for (const threads of config.threads) models.set(threads, await load({ threads }));

const bytes = (model) => {
  for (const { name } of model.inputs) {
    const place = model.buffers.inputs[name];
    place.set(new place.constructor(Uint8Array.from(readFileSync(config.feeds[name])).buffer));
  }
  model.execute();
  const values = Object.values(model.buffers.outputs);
  return Buffer.concat(values.map((each) => Buffer.from(each.buffer, each.byteOffset, each.byteLength)));
};
const [first] = models.values();
const expected = Buffer.from(bytes(first));
const rows = {};
for (const [threads, model] of models) rows[threads] = { wall: [], same: bytes(model).equals(expected) };

for (const model of models.values()) {
  for (const end = performance.now() + 2000; performance.now() < end; ) model.execute(); // until compiled by the better compiler
}
for (const end = performance.now() + 1000 * config.seconds; performance.now() < end || rows[config.threads[0]].wall.length < 9; ) {
  for (const [threads, model] of models) {
    model.execute(); // the caches are its own again, and its threads are awake
    const start = performance.now();
    let count = 0;
    do {
      model.execute();
      count++;
    } while (performance.now() - start < 5);
    rows[threads].wall.push((performance.now() - start) / count);
  }
}
for (const model of models.values()) model.close();
console.log(JSON.stringify({ node: process.version, rows }));
