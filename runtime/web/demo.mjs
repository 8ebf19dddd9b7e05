// The page of `sparsec demo-web`: one network in several engines, on a picture that is drawn or uploaded.
const ROUNDS = 15;
const WARM = 1000; // milliseconds until the browser has compiled with its better compiler
const FINGERS = [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8], [5, 9, 10, 11, 12], [9, 13, 14, 15, 16], [13, 17, 18, 19, 20], [0, 17]];
const element = (id) => document.getElementById(id);
const canvas = element("picture");
const settings = await (await fetch("settings.json")).json();

/** Where pixels go in the input: [1, 3, H, W] or [1, H, W, 3] of float32. */
function layoutOf({ shape, dtype }) {
  const [batch, a, b, c] = shape;
  if (shape.length === 4 && batch === 1 && dtype === "float32") {
    if (a === 3) return { height: b, width: c, place: (y, x, channel) => (channel * b + y) * c + x };
    if (c === 3) return { height: a, width: b, place: (y, x, channel) => (y * b + x) * 3 + channel };
  }
  throw new Error(`This page shows networks of one picture; the input is ${dtype}[${shape.join(", ")}].`);
}

function pixels(image, layout) {
  const { data } = image.getContext("2d").getImageData(0, 0, layout.width, layout.height);
  const values = new Float32Array(3 * layout.width * layout.height);
  for (let y = 0; y < layout.height; y++)
    for (let x = 0; x < layout.width; x++)
      for (let channel = 0; channel < 3; channel++)
        values[layout.place(y, x, channel)] = data[(y * layout.width + x) * 4 + channel] / 255;
  return values;
}

/** {name, run(values) -> outputs by name}: the sparse and the dense build, the first on more threads if they are allowed,
 * and ONNX Runtime Web where it is served. */
async function openEngines() {
  const engines = [];
  const open = async (folder, name, threads) => {
    const { load } = await import(`./${folder}/model.mjs`);
    const show = (loaded, total) => (element("status").textContent = `loading ${name}: ${Math.round((100 * loaded) / total)} %`);
    const model = await load({ onProgress: show, threads });
    const [input] = model.inputs;
    return { name, model, run: (values) => model.run({ [input.name]: values }) };
  };
  engines.push(await open("sparse", "sparsec", 1), await open("dense", "sparsec, zeros not used", 1));
  if (settings.threads) {
    const together = await open("sparse", "sparsec");
    const { threads } = together.model;
    if (threads > 1) engines.push({ ...together, threads, name: `sparsec, ${threads} threads` });
  }
  if (settings.peer) {
    const ort = await import("./ort/ort.wasm.min.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
    const session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
    const [{ name, shape }] = engines[0].model.inputs;
    const run = async (values) => {
      const found = await session.run({ [name]: new ort.Tensor("float32", values, shape) });
      return Object.fromEntries(Object.entries(found).map(([key, tensor]) => [key, tensor.data]));
    };
    engines.push({ name: `ONNX Runtime Web ${settings.peer}`, run });
  }
  return engines;
}

const picture = document.createElement("canvas"); // without what is drawn over it
let engines, layout, busy = false, again = false, warmed = false;

async function median(run, warm) {
  for (const end = performance.now() + warm; performance.now() < end; ) await run();
  const times = [];
  for (let i = 0; i < ROUNDS; i++) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[ROUNDS >> 1];
}

/** Run all engines on the picture, and show what they found and how long they took. */
async function update({ measure = true } = {}) {
  if (busy) return void (again = true);
  busy = true;
  try {
    const values = pixels(picture, layout);
    const outputs = await engines[0].run(values);
    show(outputs);
    if (measure) {
      element("status").textContent = "measuring";
      await new Promise((resolve) => setTimeout(resolve, 20));
      const times = [];
      for (const engine of engines) times.push(await median(() => engine.run(values), warmed ? 0 : WARM));
      warmed = true;
      table(times);
      const others = await Promise.all(engines.slice(1).map((engine) => engine.run(values)));
      const worst = Math.max(0, ...others.map((other) => difference(outputs, other)));
      element("status").textContent = `largest difference between engines: ${worst.toExponential(1)} of the largest value`;
      await report(values, outputs, times, worst);
    }
  } catch (error) {
    fail(error);
  } finally {
    busy = false;
  }
  if (again) {
    again = false;
    await update();
  }
}

function difference(one, other) {
  let worst = 0;
  for (const [name, a] of Object.entries(one)) {
    const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
    worst = Math.max(worst, ...Array.from(a, (value, i) => Math.abs(value - other[name][i]) / largest));
  }
  return worst;
}

function table(times) {
  const ratio = (a, b) => `${(a / b).toFixed(2)}x`;
  const rows = engines.map(({ name, threads }, i) => [
    name,
    times[i].toFixed(2),
    threads ? `is ${ratio(times[0], times[i])} one thread` : i ? `sparsec is ${ratio(times[i], times[0])}` : "",
  ]);
  element("times").replaceChildren(
    ...rows.map((row) => {
      const line = document.createElement("tr");
      line.append(...row.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
      return line;
    }),
  );
}

function show(outputs) {
  const context = canvas.getContext("2d");
  const scale = canvas.width / layout.width;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const landmarks = Object.values(outputs).find((values) => values.length === 63);
  if (landmarks) {
    const point = (i) => [landmarks[3 * i] * scale, landmarks[3 * i + 1] * scale];
    context.lineWidth = 3;
    context.strokeStyle = "#00a2ff";
    for (const bones of FINGERS) {
      context.beginPath();
      bones.forEach((joint, i) => (i ? context.lineTo(...point(joint)) : context.moveTo(...point(joint))));
      context.stroke();
    }
    context.fillStyle = "#e6004c";
    for (let i = 0; i < 21; i++) {
      context.beginPath();
      context.arc(...point(i), 5, 0, 2 * Math.PI);
      context.fill();
    }
  }
  const lines = Object.entries(outputs).map(([name, values]) => {
    const few = Array.from(values.slice(0, 4), (value) => value.toPrecision(4)).join(", ");
    return [name, `[${values.length}]`, few + (values.length > 4 ? ", …" : "")];
  });
  element("outputs").replaceChildren(
    ...lines.map((row) => {
      const line = document.createElement("tr");
      line.append(...row.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
      return line;
    }),
  );
}

/** Tell whoever serves the page what came out, if they asked for it. */
async function report(values, outputs, times, worst) {
  if (!settings.report) return;
  const found = Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, Array.from(values)]));
  const named = Object.fromEntries(engines.map(({ name }, i) => [name, times[i]]));
  const body = JSON.stringify({ pixels: Array.from(values), outputs: found, milliseconds: named, difference: worst });
  await fetch("report", { method: "POST", body });
}

function fail(error) {
  element("status").className = "error";
  element("status").textContent = error.message;
  if (settings.report) fetch("report", { method: "POST", body: JSON.stringify({ error: String(error.message) }) });
}

/** A hand with spread fingers, as a picture that needs no file. */
function drawHand() {
  const { width, height } = picture;
  const context = picture.getContext("2d");
  const [x, y] = [(part) => part * width, (part) => part * height];
  const backdrop = context.createLinearGradient(0, 0, width, height);
  backdrop.addColorStop(0, "#39424e");
  backdrop.addColorStop(1, "#6d7a86");
  context.fillStyle = backdrop;
  context.fillRect(0, 0, width, height);
  context.lineCap = context.lineJoin = "round";
  const limb = (thick, color, ...points) => {
    context.strokeStyle = color;
    context.lineWidth = x(thick);
    context.beginPath();
    points.forEach(([px, py], i) => (i ? context.lineTo(x(px), y(py)) : context.moveTo(x(px), y(py))));
    context.stroke();
  };
  const fingers = [
    [0.11, [0.4, 0.76], [0.28, 0.64], [0.19, 0.55]],
    [0.09, [0.42, 0.6], [0.38, 0.4], [0.355, 0.25]],
    [0.095, [0.5, 0.58], [0.5, 0.36], [0.5, 0.18]],
    [0.09, [0.58, 0.6], [0.62, 0.4], [0.64, 0.24]],
    [0.075, [0.65, 0.66], [0.73, 0.5], [0.775, 0.38]],
  ];
  for (const [grow, color] of [[0.012, "#a8704e"], [0, "#e0a983"]]) {
    limb(0.2 + grow, color, [0.51, 1.05], [0.51, 0.8]);
    limb(0.23 + grow, color, [0.47, 0.72], [0.56, 0.72], [0.54, 0.65], [0.5, 0.65]);
    for (const [thick, ...points] of fingers) limb(thick + grow, color, ...points);
  }
  for (const [, , middle, tip] of fingers) {
    limb(0.012, "#c48d69", [middle[0] - 0.025, middle[1]], [middle[0] + 0.025, middle[1]]);
    limb(0.03, "#f0cdb4", [tip[0], tip[1] - 0.008], [tip[0], tip[1]]);
  }
}

async function open(file) {
  const image = await createImageBitmap(file);
  const side = Math.min(image.width, image.height);
  const [left, top] = [(image.width - side) / 2, (image.height - side) / 2];
  picture.getContext("2d").drawImage(image, left, top, side, side, 0, 0, picture.width, picture.height);
  await update();
}

function listen() {
  let pen = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * picture.width, ((event.clientY - box.top) / box.height) * picture.height];
  };
  canvas.addEventListener("pointerdown", (event) => (pen = place(event)));
  canvas.addEventListener("pointermove", (event) => {
    if (!pen) return;
    const context = picture.getContext("2d");
    Object.assign(context, { lineWidth: 14, lineCap: "round", strokeStyle: "#e0a983" });
    context.beginPath();
    context.moveTo(...pen);
    context.lineTo(...(pen = place(event)));
    context.stroke();
    update({ measure: false });
  });
  addEventListener("pointerup", () => {
    if (pen) update();
    pen = null;
  });
  element("file").addEventListener("change", (event) => event.target.files[0] && open(event.target.files[0]).catch(fail));
  canvas.addEventListener("dragover", (event) => event.preventDefault());
  canvas.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]).catch(fail);
  });
  element("hand").addEventListener("click", () => (drawHand(), update()));
  element("clear").addEventListener("click", () => {
    const context = picture.getContext("2d");
    context.fillStyle = "#39424e";
    context.fillRect(0, 0, picture.width, picture.height);
    update();
  });
}

try {
  engines = await openEngines();
  layout = layoutOf(engines[0].model.inputs[0]);
  Object.assign(picture, { width: layout.width, height: layout.height });
  canvas.height = canvas.width = 2 * Math.max(layout.width, 224);
  drawHand();
  listen();
  await update();
} catch (error) {
  fail(error);
}
