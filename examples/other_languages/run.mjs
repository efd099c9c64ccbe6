// node run.mjs MODEL INPUT OUTPUT SIZE...: the first output of a model for one float32 input of these sizes, both as raw bytes.
import { readFileSync, writeFileSync } from 'node:fs';
import * as ort from 'onnxruntime-web';

const [model, input, output, ...sizes] = process.argv.slice(2);
if (!sizes.length) {
  console.error('usage: node run.mjs MODEL INPUT OUTPUT SIZE...');
  process.exit(2);
}
ort.env.wasm.numThreads = 1;
const bytes = readFileSync(input);
const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(model)), { executionProviders: ['wasm'] });
const tensor = new ort.Tensor('float32', values, sizes.map(Number));
const results = await session.run({ [session.inputNames[0]]: tensor });
const made = results[session.outputNames[0]];
writeFileSync(output, new Uint8Array(made.data.buffer, made.data.byteOffset, made.data.byteLength));
console.log(made.dims.join(' '));
