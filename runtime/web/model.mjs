// A network compiled by sparsec: loads model.wasm (and weights.bin, if the weights lie beside it) and runs it.
// Works in browsers, in Node 18 and later, and in workers; has no dependencies. What it exports is in model.d.mts.

const threading = null; // sparsec: threads
const FEATURES = /* sparsec: features */ [];
const ARRAYS = {
  float64: Float64Array,
  float32: Float32Array,
  float16: Uint16Array, // the 16 bits of each number
  bfloat16: Uint16Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array, // 0 or 1
};
// The smallest modules that use a feature.
const PROBES = {
  "bulk-memory": [5, 3, 1, 0, 1, 10, 14, 1, 12, 0, 65, 0, 65, 0, 65, 0, 252, 10, 0, 0, 11],
  simd128: [10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
  "relaxed-simd": [10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11],
};
const NO_RESULT = [1, 4, 1, 96, 0, 0, 3, 2, 1, 0];
const VECTOR_RESULT = [1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0];

/** What went wrong; `expected` and `got` where that helps. */
export class SparsecError extends Error {
  constructor(what, { expected, got, where, cause } = {}) {
    const rest = Object.entries({ where, expected, got }).filter(([, value]) => value !== undefined);
    super([what, ...rest.map(([name, value]) => `  ${name}: ${value}`)].join("\n"), { cause });
    this.name = "SparsecError";
    Object.assign(this, { what, expected, got, where });
  }
}

/** The features of WebAssembly that this model needs and this engine lacks. */
export function missingFeatures() {
  const has = (name) => {
    const header = [0, 97, 115, 109, 1, 0, 0, 0, ...(name === "bulk-memory" ? NO_RESULT : VECTOR_RESULT)];
    return WebAssembly.validate(new Uint8Array([...header, ...PROBES[name]]));
  };
  return FEATURES.filter((name) => name in PROBES && !has(name));
}

/** Load the model; without options, from the files beside this one. */
export async function load({ wasm, weights, onProgress, threads } = {}) {
  const missing = missingFeatures();
  if (missing.length) {
    throw new SparsecError("This WebAssembly engine lacks instructions that the model was compiled for.", {
      expected: FEATURES.join(", "),
      got: `none of ${missing.join(", ")}`,
    });
  }
  checkThreads(threads);
  const count = threading ? await threading.threadsFor(threads) : 1;
  const shared = count > 1 || wasm instanceof WebAssembly.Module; // which cannot be changed any more
  const module = await compiled(wasm ?? new URL("./model.wasm", import.meta.url), shared ? null : threading?.unshared);
  const manifest = manifestOf(module);
  const team = threading && new threading.Team(manifest.memory, count, shared);
  const { exports } = await WebAssembly.instantiate(module, { math: HOST_MATH, ...team?.imports });
  team?.begin(exports);
  if (!manifest.weights.inside) {
    const place = new Uint8Array(exports.memory.buffer, manifest.weights.address, manifest.weights.bytes);
    await fill(place, weights ?? new URL("./weights.bin", import.meta.url), onProgress);
    const found = crc32(place);
    if (found !== manifest.weights.crc32) {
      throw new SparsecError("The weights are damaged, or those of another model.", {
        expected: `crc32 ${manifest.weights.crc32.toString(16)}`,
        got: `crc32 ${found.toString(16)}`,
      });
    }
  }
  await team?.start(module).catch((cause) => {
    throw new SparsecError("The threads of the model could not be started.", { got: cause.message, cause });
  });
  return new Model(exports, manifest, team);
}

function checkThreads(wanted) {
  const most = threading ? threading.MOST_THREADS : 1;
  if (wanted === undefined || (Number.isInteger(wanted) && wanted >= 1 && wanted <= most)) return;
  throw new SparsecError("The model cannot have so many threads.", {
    expected: threading ? `a whole number from 1 to ${most}` : "1, as it was compiled without: see --target wasm32-threads",
    got: String(wanted),
  });
}

/** A loaded network. One run at a time; for several at once, load it several times. */
export class Model {
  #exports;
  #manifest;
  #team;
  #closed = false;

  constructor(exports, manifest, team) {
    this.#exports = exports;
    this.#manifest = manifest;
    this.#team = team;
    this.name = manifest.name;
    this.threads = team?.threads ?? 1;
    this.inputs = manifest.inputs.map(described);
    this.outputs = manifest.outputs.map(described);
    // The tensors in the module's own memory, for those who want no copies; see `execute`.
    this.buffers = { inputs: this.#views(manifest.inputs), outputs: this.#views(manifest.outputs) };
  }

  /** Run on one typed array per input; returns a new typed array per output. */
  run(feeds) {
    const known = this.inputs.map((spec) => spec.name);
    const extra = Object.keys(feeds ?? {}).filter((name) => !known.includes(name));
    if (extra.length) {
      throw new SparsecError("The model has no such input.", { expected: known.join(", "), got: extra.join(", ") });
    }
    for (const spec of this.inputs) {
      const view = this.buffers.inputs[spec.name];
      const feed = checked(feeds?.[spec.name], spec, view);
      if (feed !== view) view.set(feed);
    }
    this.execute();
    return Object.fromEntries(Object.entries(this.buffers.outputs).map(([name, view]) => [name, view.slice()]));
  }

  /** Run on what `buffers.inputs` hold; the results are in `buffers.outputs` until the next run. */
  execute() {
    if (this.#closed) throw new SparsecError("The model is closed.");
    this.#report(this.#exports.run());
  }

  /** Milliseconds of each step of one run on what `buffers.inputs` hold. */
  profile() {
    this.execute(); // checks begin anew, and everything is warm
    return this.#manifest.steps.map(([kernel, layer], number) => {
      const start = performance.now();
      this.#report(this.#exports.step(number));
      return { layer, kernel, milliseconds: performance.now() - start };
    });
  }

  /** End the threads; the model runs no more. */
  close() {
    this.#closed = true;
    this.#team?.close();
  }

  #report(failed) {
    if (failed) {
      const [where, what] = this.#manifest.complaints[failed - 1];
      throw new SparsecError(`The network cannot be computed on these inputs: ${what}.`, { where });
    }
  }

  #views(specs) {
    const view = ({ dtype, address, size }) => new ARRAYS[dtype](this.#exports.memory.buffer, address, size);
    return Object.fromEntries(specs.map((spec) => [spec.name, view(spec)]));
  }
}

function described({ name, dtype, shape }) {
  return Object.freeze({ name, dtype, shape: Object.freeze(shape) });
}

function checked(feed, spec, view) {
  const expected = `${view.constructor.name} of ${view.length} elements, ${spec.dtype}[${spec.shape.join(", ")}]`;
  if (feed === undefined) throw new SparsecError(`The input ${spec.name} is missing.`, { expected, got: "nothing" });
  if (!ArrayBuffer.isView(feed) || feed.constructor.name !== view.constructor.name) {
    const got = feed === null ? "null" : (feed.constructor?.name ?? typeof feed);
    throw new SparsecError(`The input ${spec.name} is no ${view.constructor.name}.`, { expected, got });
  }
  if (feed.length !== view.length) {
    throw new SparsecError(`The input ${spec.name} has the wrong size.`, { expected, got: `${feed.length} elements` });
  }
  return feed;
}

function manifestOf(module) {
  const [section] = WebAssembly.Module.customSections(module, "sparsec");
  const manifest = section && JSON.parse(new TextDecoder().decode(section));
  if (manifest?.format !== "sparsec-wasm" || manifest.version !== 1) {
    throw new SparsecError("The WebAssembly module is none that this file can run.", {
      expected: "a sparsec-wasm module, version 1",
      got: manifest ? `${manifest.format}, version ${manifest.version}` : "a module without a description",
    });
  }
  return manifest;
}

// --- files -----------------------------------------------------------------------------------------------------------

const isLocal = (source) => (source instanceof URL ? source.protocol === "file:" : false) && !!globalThis.process?.versions?.node;

/** The bytes of a file beside this one in Node, where `fetch` does not open files. */
async function local(url) {
  const name = "node:fs/promises"; // out of sight of bundlers for browsers
  const { readFile } = await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
  return new Uint8Array(await readFile(url));
}

async function fetched(source) {
  const response = source instanceof Response ? source : await fetch(source);
  if (!response.ok) {
    throw new SparsecError("A file of the model could not be fetched.", {
      where: String(response.url || source),
      got: `HTTP ${response.status}`,
    });
  }
  return response;
}

const isBytes = (source) => source instanceof ArrayBuffer || ArrayBuffer.isView(source);

/** The module of `source`, with `change` done to its bytes. */
async function compiled(source, change) {
  if (source instanceof WebAssembly.Module) return source;
  if (change) return WebAssembly.compile(change(await bytesOf(source)));
  if (isBytes(source)) return WebAssembly.compile(source);
  if (isLocal(source)) return WebAssembly.compile(await local(source));
  const response = await fetched(source);
  const streams = response.headers.get("content-type")?.startsWith("application/wasm");
  return streams ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
}

/** The bytes of `source`, all at once. */
async function bytesOf(source) {
  if (isLocal(source)) return local(source);
  const bytes = isBytes(source) ? source : await (await fetched(source)).arrayBuffer();
  return bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Copy the bytes of `source` to `place`, as they come, and say how many are there. */
async function fill(place, source, onProgress) {
  let filled = 0;
  const take = (bytes) => {
    if (filled + bytes.length <= place.length) place.set(bytes, filled);
    filled += bytes.length;
    onProgress?.(filled, place.length);
  };
  if (isBytes(source) || isLocal(source)) {
    take(await bytesOf(source));
  } else {
    const reader = (await fetched(source)).body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) take(part.value);
  }
  if (filled !== place.length) {
    throw new SparsecError("The weights have the wrong size.", {
      expected: `${place.length} bytes`,
      got: `${filled} bytes`,
    });
  }
}

function crc32(bytes) {
  const table = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = table[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

// Functions that few networks need and WebAssembly has no instructions for; for worker.mjs, too.
export const HOST_MATH = (() => {
  const names = "acos acosh asin asinh atan atan2 atanh cbrt cos cosh exp expm1 hypot log log10 log1p log2 pow sin sinh tan tanh";
  const functions = Object.fromEntries(names.split(" ").map((name) => [name, Math[name]]));
  functions.exp2 = (x) => 2 ** x;
  functions.exp10 = (x) => 10 ** x;
  functions.fmod = (x, y) => x % y;
  return { ...functions, ...Object.fromEntries(Object.entries(functions).map(([name, each]) => [`${name}f`, each])) };
})();
