// Types of model.mjs: a network compiled by sparsec.

export interface Inputs {
  /* sparsec: inputs */
}

export interface Outputs {
  /* sparsec: outputs */
}

export interface TensorSpec {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

export interface StepTime {
  readonly layer: string;
  readonly kernel: string;
  readonly milliseconds: number;
}

export interface LoadOptions {
  /** Where model.wasm is, or what is in it. */
  wasm?: string | URL | Response | BufferSource | WebAssembly.Module;
  /** Where weights.bin is, or what is in it; of use only if the weights lie beside the module. */
  weights?: string | URL | Response | BufferSource;
  /**
   * How many threads compute, of a model that was compiled for threads; without it, as many as there are processors, but 8 at
   * most. `Model.threads` says how many there are: one in a page that is not cross-origin isolated.
   */
  threads?: number;
  /** Told how many bytes of the weights have come, and of how many. */
  onProgress?: (loaded: number, total: number) => void;
}

/** What went wrong; `expected` and `got` where that helps. */
export class SparsecError extends Error {
  readonly what: string;
  readonly where?: string;
  readonly expected?: string;
  readonly got?: string;
}

/** A loaded network. One run at a time; for several at once, load it several times. */
export class Model {
  readonly name: string;
  readonly threads: number;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** The tensors in the module's own memory. */
  readonly buffers: { readonly inputs: Inputs; readonly outputs: Outputs };
  private constructor();
  /**
   * Run on one array per input; returns a new array per output. Throws `SparsecError`.
   * It ends when the results are there: a page that must not wait runs its model in a worker.
   */
  run(feeds: Inputs): Outputs;
  /** Run on what `buffers.inputs` hold; the results are in `buffers.outputs` until the next run. */
  execute(): void;
  /** Milliseconds of each step of one run on what `buffers.inputs` hold. */
  profile(): StepTime[];
  /** End the threads; the model runs no more. */
  close(): void;
}

/** Load the model; without options, from the files beside this one. Throws `SparsecError`. */
export function load(options?: LoadOptions): Promise<Model>;

/** The features of WebAssembly that this model needs and this engine lacks. */
export function missingFeatures(): string[];
