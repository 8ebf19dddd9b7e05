// node wasm_race.mjs CONFIG: one model in ONNX Runtime Web and in packages of sparsec, round by round, on one thread.
//   CONFIG {"peer": folder with node_modules, "model": file.onnx, "packages": {name: folder}, "seconds": number,
//           "feeds": {input: file of raw bytes}}
// Prints JSON: {"node", "peer", "rows": {name: {"wall": [ms...], "cpu": [ms...], "error": largest difference / largest value}}}
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const require = createRequire(`${config.peer}/`);
const ort = await import(pathToFileURL(require.resolve("onnxruntime-web")).href);
const { env, InferenceSession, Tensor } = ort.default ?? ort;
env.wasm.numThreads = 1;
env.logLevel = "error";
const session = await InferenceSession.create(readFileSync(config.model), { executionProviders: ["wasm"] });

const models = {};
for (const [name, folder] of Object.entries(config.packages)) {
  const { load } = await import(pathToFileURL(`${folder}/model.mjs`).href);
  models[name] = await load();
}
const feeds = {};
for (const { name, dtype, shape } of Object.values(models)[0].inputs) {
  const place = Object.values(models)[0].buffers.inputs[name];
  const values = new place.constructor(Uint8Array.from(readFileSync(config.feeds[name])).buffer);
  feeds[name] = new Tensor(dtype, values, shape);
  for (const model of Object.values(models)) model.buffers.inputs[name].set(values);
}
const runs = { peer: () => session.run(feeds) };
for (const [name, model] of Object.entries(models)) runs[name] = () => model.execute();

const expected = await runs.peer();
const difference = (model) => {
  model.execute();
  return Math.max(
    ...model.outputs.map(({ name }) => {
      const [a, b] = [expected[name].data, model.buffers.outputs[name]];
      let [worst, largest] = [0, 1e-30];
      for (let i = 0; i < a.length; i++) {
        worst = Math.max(worst, Math.abs(a[i] - b[i]));
        largest = Math.max(largest, Math.abs(a[i]));
      }
      return a.length === b.length ? worst / largest : NaN;
    }),
  );
};
const rows = { peer: { wall: [], cpu: [], error: 0 } };
for (const [name, model] of Object.entries(models)) rows[name] = { wall: [], cpu: [], error: difference(model) };

const cpu = () => process.cpuUsage().user / 1000;
for (const run of Object.values(runs)) {
  for (const end = performance.now() + 2000; performance.now() < end; ) await run(); // until compiled by the better compiler
}
for (const end = performance.now() + 1000 * config.seconds; performance.now() < end || rows.peer.wall.length < 9; ) {
  for (const [name, run] of Object.entries(runs)) {
    await run(); // the caches are its own again
    const [wall, used] = [performance.now(), cpu()];
    let count = 0;
    do {
      await run();
      count++;
    } while (performance.now() - wall < 5);
    rows[name].wall.push((performance.now() - wall) / count);
    rows[name].cpu.push((cpu() - used) / count);
  }
}
const { version } = JSON.parse(readFileSync(`${config.peer}/node_modules/onnxruntime-web/package.json`));
console.log(JSON.stringify({ node: process.version, peer: `ONNX Runtime Web ${version}`, rows }));
process.exit(0);
