// A thread of a network: what threads.mjs starts.
import { HOST_MATH } from "./model.mjs";
import { attend } from "./threads.mjs";

const begin = (facts, say) => attend(facts, { math: HOST_MATH }, say);

if (globalThis.process?.versions?.node) {
  const name = "node:worker_threads"; // out of sight of bundlers for browsers
  const { parentPort } = await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
  parentPort.once("message", (facts) => begin(facts, (said) => parentPort.postMessage(said)));
} else {
  addEventListener("message", ({ data }) => begin(data, (said) => postMessage(said)), { once: true });
}
