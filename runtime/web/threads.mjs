// Threads of a network: workers with instances of its module over one memory, which take chunks of each step.
//
// A step is opened (OPEN = 1, EPOCH + 1) and closed when its chunks are dealt out. A worker counts itself into ACTIVE before
// it looks at OPEN, and whoever runs the network looks at ACTIVE after closing: either the worker sees the step closed, or it
// is waited for. Workers that come late or not at all delay nobody, as in runtime/native/pool.c.

const LINE = 16; // numbers in 64 bytes: who writes one delays nobody who reads another
const [EPOCH, OPEN, ACTIVE, STOP, FAILED, STEP, CHUNKS, NEXT] = Array.from({ length: 8 }, (_, i) => i * LINE);
const SLEEPERS = 1; // behind a number: how many threads sleep until it changes
export const MOST_THREADS = 64;
const USUAL_THREADS = 8; // more are started only if asked for: steps are short
const CHUNKS_PER_THREAD = 4; // rows are uneven: enough chunks that the last one is short
const SPIN = 0.1; // milliseconds that a thread watches a number before it sleeps
const PAGE = 65536;
const nodeModule = (name) => import(/* @vite-ignore */ /* webpackIgnore: true */ `node:${name}`); // out of sight of bundlers
const inNode = () => !!globalThis.process?.versions?.node;

async function processors() {
  return inNode() ? (await nodeModule("os")).availableParallelism() : (globalThis.navigator?.hardwareConcurrency ?? 1);
}

/** How many threads a network gets that should have `wanted`: one where workers cannot share memory. */
export async function threadsFor(wanted) {
  const isolated = globalThis.crossOriginIsolated ?? inNode();
  const able = isolated && typeof SharedArrayBuffer === "function" && (inNode() || typeof Worker === "function");
  return able ? (wanted ?? Math.min(await processors(), USUAL_THREADS)) : 1;
}

/** The module for one thread: the flag of its import that memory is shared is cleared, on which no code depends. Engines
 * that have no shared memory for a page can run it, and others are faster: V8 takes a tenth more for products in a shared one. */
export function unshared(module) {
  const entry = Array.from("\x07sparsec\x06memory\x02\x03", (letter) => letter.charCodeAt());
  const copy = Uint8Array.from(module);
  const at = copy.findIndex((_, start) => entry.every((byte, i) => copy[start + i] === byte));
  if (at >= 0) copy[at + entry.length - 1] = 1;
  return copy;
}

/** The memory of a network, and the threads that compute on it; the first is whoever runs it. */
export class Team {
  #memory;
  #stack;
  #part;
  #control;
  #spin;
  #sleeps;
  #workers = [];

  /** Memory for the module's pages, and behind them a stack for each other thread; not shared for an `unshared` module. */
  constructor({ pages, stack }, threads, shared) {
    const size = pages + ((threads - 1) * stack) / PAGE;
    this.#memory = new WebAssembly.Memory({ initial: size, maximum: size, shared });
    this.#stack = stack;
    this.threads = threads;
  }

  /** What the first thread's instance imports. */
  get imports() {
    return { sparsec: { memory: this.#memory }, threads: { share: (step, most) => this.#share(step, most) } };
  }

  /** Fill memory with the module's data, by its first instance. */
  begin({ initialise, part }) {
    this.#part = part;
    initialise();
  }

  /** Start the other threads, each with its instance of the module. */
  async start(module) {
    const { threads } = this;
    if (threads === 1) return;
    const control = (this.#control = new Int32Array(new SharedArrayBuffer(4 * (NEXT + threads * LINE))));
    const spin = (this.#spin = threads <= (await processors()) ? SPIN : 0); // on a shared processor it stops the others
    this.#sleeps = maySleep(control);
    const end = this.#memory.buffer.byteLength;
    try {
      for (let seat = 1; seat < threads; seat++) this.#workers.push(await newWorker());
      const facts = { module, memory: this.#memory, control, threads, spin };
      const top = (seat) => end - (seat - 1) * this.#stack;
      await Promise.all(this.#workers.map((worker, i) => started(worker, { ...facts, seat: i + 1, top: top(i + 1) })));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Compute a step in at most `most` chunks. */
  #share(step, most) {
    const { threads } = this;
    const chunks = threads === 1 ? 1 : Math.min(most, threads * CHUNKS_PER_THREAD);
    if (chunks === 1) return this.#part(step, 0, 1);
    const control = this.#control;
    control[STEP] = step;
    control[CHUNKS] = chunks;
    for (let seat = 0; seat < threads; seat++) control[NEXT + seat * LINE] = firstOf(seat, chunks, threads);
    Atomics.store(control, OPEN, 1);
    change(control, EPOCH, 1);
    try {
      work(this.#part, control, 0, threads);
    } finally {
      Atomics.store(control, OPEN, 0);
      for (let active; (active = Atomics.load(control, ACTIVE)); ) outlast(control, ACTIVE, active, this.#spin, this.#sleeps);
    }
    if (control[FAILED]) throw new WebAssembly.RuntimeError("A thread of the network ended.");
  }

  /** End the workers. */
  close() {
    if (this.#control) {
      Atomics.store(this.#control, STOP, 1);
      change(this.#control, EPOCH, 1);
    }
    for (const worker of this.#workers.splice(0)) worker.terminate();
  }
}

/** What a worker does from its first message on. */
export async function attend({ module, memory, control, threads, spin, seat, top }, imports, say) {
  let part;
  try {
    const share = () => {
      throw new Error("only the first thread shares steps out");
    };
    const { exports } = await WebAssembly.instantiate(module, { ...imports, sparsec: { memory }, threads: { share } });
    exports.stack_pointer.value = top;
    part = exports.part;
  } catch (error) {
    return say(String(error));
  }
  let seen = Atomics.load(control, EPOCH);
  say(null);
  for (;;) {
    outlast(control, EPOCH, seen, spin, true);
    if (Atomics.load(control, STOP)) return;
    seen = Atomics.load(control, EPOCH);
    Atomics.add(control, ACTIVE, 1);
    try {
      if (Atomics.load(control, OPEN)) work(part, control, seat, threads);
    } catch {
      Atomics.store(control, FAILED, 1);
    }
    change(control, ACTIVE, -1);
  }
}

const firstOf = (seat, chunks, threads) => Math.floor((seat * chunks) / threads);

/** Take chunks of the open step until none is left: those of `seat` first, which it had a step ago, then others'. */
function work(part, control, seat, threads) {
  const [step, chunks] = [control[STEP], control[CHUNKS]];
  for (let i = 0; i < threads; i++) {
    const owner = (seat + i) % threads;
    const behind = firstOf(owner + 1, chunks, threads);
    for (let chunk; (chunk = Atomics.add(control, NEXT + owner * LINE, 1)) < behind; ) part(step, chunk, chunks);
  }
}

/** Wait until a number is no longer `value`: watch it for `spin` milliseconds, and then sleep if that is allowed. */
function outlast(control, place, value, spin, sleeps) {
  const end = performance.now() + spin;
  do {
    for (let look = 0; look < 64; look++) if (Atomics.load(control, place) !== value) return;
  } while (!sleeps || performance.now() < end);
  Atomics.add(control, place + SLEEPERS, 1);
  Atomics.wait(control, place, value);
  Atomics.sub(control, place + SLEEPERS, 1);
}

/** Add to a number, and wake who sleeps until it changes. */
function change(control, place, step) {
  Atomics.add(control, place, step);
  if (Atomics.load(control, place + SLEEPERS)) Atomics.notify(control, place);
}

/** False where a thread must not sleep: the one that a page is drawn in. */
function maySleep(control) {
  try {
    Atomics.wait(control, EPOCH, control[EPOCH] + 1);
    return true;
  } catch {
    return false;
  }
}

async function newWorker() {
  if (!inNode()) return new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });
  const { Worker: NodeWorker } = await nodeModule("worker_threads");
  // Without the process's own options: with --input-type, which is for text, a worker's file is refused.
  const worker = new NodeWorker(new URL("./worker.mjs", import.meta.url), { execArgv: [] });
  worker.unref(); // a program may end without `close`
  return worker;
}

/** Send a worker what it needs, and wait until it is ready. */
function started(worker, facts) {
  return new Promise((resolve, reject) => {
    const answer = (said) => (said === null ? resolve() : reject(new Error(said)));
    const fail = (error) => reject(new Error(error?.message || "a worker could not be loaded"));
    if (inNode()) worker.once("message", answer).once("error", fail);
    else Object.assign(worker, { onmessage: ({ data }) => answer(data), onerror: fail });
    worker.postMessage(facts);
  });
}
