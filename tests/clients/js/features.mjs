/* What the programs of this folder share: what the runner tells them (EMB_CLIENT_SETUP), and how they report what they tried:
 * one line of JSON for each feature. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

export const SETUP = JSON.parse(readFileSync(process.env.EMB_CLIENT_SETUP, 'utf8'));
export const { url: URL_, model: MODEL, texts: TEXTS } = SETUP;
export const NAMES = Object.keys(TEXTS).sort();
export const BATCH = NAMES.map((name) => TEXTS[name]);

/* Fails unless values are the server's vector of that name, bit by bit. */
export function same(values, name) {
  const got = Buffer.from(Float32Array.from(values).buffer).toString('base64');
  assert.ok(got === SETUP.vectors[name], `the vector of ${name} is not the server's: ${values.length} values, ${values[0]}`);
}

export function sameBatch(vectors, names = NAMES) {
  assert.equal(vectors.length, names.length);
  vectors.forEach((vector, i) => same(vector, names[i]));
}

/* The error of one of these kinds that call() rejects with. */
export async function rejects(kind, call) {
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
    return error;
  }
  throw new Error('no error');
}

export function says(error, ...parts) {
  for (const part of parts) assert.ok(error.message.includes(part), `${part} is not in ${error.message}`);
  return error.constructor.name;
}

/* Calls until the rate of the key is used up; the error that says so. */
export async function limited(kind, call) {
  for (let i = 0; i < 20; i++) {
    try {
      await call();
    } catch (error) {
      assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
      return error;
    }
  }
  throw new Error('20 requests, and none was refused');
}

/* Calls through a client that repeats by itself, with a key for one request a second: no error may come out. */
export async function repeated(call) {
  const start = performance.now();
  for (let i = 0; i < 3; i++) await call();
  assert.ok(performance.now() - start > 900, 'none was refused');
}

/* A client under test. */
export class Client {
  constructor(name, version, dialect) {
    Object.assign(this, { name, version, dialect });
  }

  async feature(feature, run) {
    let ok = true;
    let detail = '';
    try {
      detail = (await run()) ?? '';
    } catch (error) {
      ok = false;
      const place = error.stack?.split('\n').find((line) => line.includes('.mjs') && !line.includes('features.mjs')) ?? '';
      detail = `${error.constructor.name}: ${error.message} ${place.trim().split('/').pop()}`;
    }
    const { name: client, version, dialect } = this;
    console.log(JSON.stringify({ client, version, dialect, feature, ok, detail: String(detail).slice(0, 600) }));
  }
}

/* The version of an installed package. */
export function version(name) {
  return JSON.parse(readFileSync(new URL(`./node_modules/${name}/package.json`, import.meta.url))).version;
}
