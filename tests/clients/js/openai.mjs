/* openai-node: its defaults (base64), every form of input, its classes of errors, its repeats; AzureOpenAI. */
import assert from 'node:assert/strict';
import OpenAI, { AzureOpenAI } from 'openai';
import { BATCH, Client, limited, MODEL, NAMES, rejects, repeated, same, sameBatch, says, SETUP, TEXTS, URL_, version } from './features.mjs';

const client = new Client('openai (JS)', version('openai'), 'OpenAI');
const open = new OpenAI({ baseURL: `${URL_}/v1`, apiKey: 'any', maxRetries: 0 });
const keyed = (apiKey, maxRetries = 0) => new OpenAI({ baseURL: `${SETUP.keyed}/v1`, apiKey, maxRetries });
const create = (input, more = {}, api = open) => api.embeddings.create({ model: MODEL, input, ...more });
const first = async (...given) => (await create(...given)).data[0].embedding;

await client.feature('single', async () => {
  const reply = await create(TEXTS.short);
  same(reply.data[0].embedding, 'short');
  assert.equal(reply.object, 'list');
  assert.equal(reply.model, MODEL);
  assert.ok(reply.usage.prompt_tokens > 0 && reply.usage.prompt_tokens === reply.usage.total_tokens);
});
await client.feature('batch', async () => {
  const { data } = await create(BATCH);
  assert.deepEqual(data.map((d) => d.index), [...NAMES.keys()]);
  sameBatch(data.map((d) => d.embedding));
});
await client.feature('float', async () => same(await first(TEXTS.short, { encoding_format: 'float' }), 'short'));
await client.feature('base64', async () => {
  assert.equal(await first(TEXTS.short, { encoding_format: 'base64' }), SETUP.vectors.short);
});
await client.feature('dimensions', async () => {
  same(await first(TEXTS.short, { dimensions: 128 }), 'short:128');
  return says(await rejects(OpenAI.BadRequestError, () => create('x', { dimensions: 100000 })), 'dimensions');
});
await client.feature('empty text', async () => same(await first(''), 'empty'));
await client.feature('token ids', async () => {
  same(await first(SETUP.ids), 'short');
  same((await create([SETUP.ids, SETUP.ids])).data[1].embedding, 'short');
  return says(await rejects(OpenAI.BadRequestError, () => create([[99999999]])), 'check_embedding_ctx_length');
});
await client.feature('2048 texts', async () => {
  const { data } = await create(Array.from({ length: 2048 }, (_, i) => (i % 2 ? TEXTS.other : TEXTS.short)));
  same(data[0].embedding, 'short');
  same(data[2047].embedding, 'other');
});
await client.feature('parallel', async () => {
  const names = Array.from({ length: 32 }, (_, i) => NAMES[i % NAMES.length]);
  sameBatch(await Promise.all(names.map((name) => first(TEXTS[name]))), names);
});
await client.feature('models', async () => {
  const ids = [];
  for await (const model of open.models.list()) ids.push(model.id);
  assert.ok(ids.includes(MODEL));
  assert.equal((await open.models.retrieve(MODEL)).id, MODEL);
});
await client.feature('odd model ids', async () => {
  const error = await rejects(OpenAI.NotFoundError, () => open.models.retrieve('org/na me?%#é'));
  assert.equal(error.code, 'model_not_found');
  return says(error, 'org/na me?%#é');
});
await client.feature('unknown model', async () => {
  const error = await rejects(OpenAI.NotFoundError, () => create('x', { model: 'no-such-model' }));
  assert.deepEqual([error.code, error.param, error.type], ['model_not_found', 'model', 'invalid_request_error']);
  return says(error, 'no-such-model');
});
await client.feature('bad request', async () => {
  for (const [input, more] of [[[]], [['a', 1]], ['x', { encoding_format: 'yaml' }], [{ a: 1 }], [Array(2049).fill('a')], [null]]) {
    const error = await rejects(OpenAI.BadRequestError, () => create(input, more));
    assert.equal(error.type, 'invalid_request_error');
    assert.ok(error.param && error.requestID);
  }
  return 'BadRequestError';
});
await client.feature('other errors', async () => {
  const plain = (path, options) => rejects(OpenAI.APIError, () => open.request({ path, ...options }));
  assert.equal((await rejects(OpenAI.NotFoundError, () => open.post('/no/such/route', { body: {} }))).status, 404);
  assert.equal((await plain('/embeddings', { method: 'delete' })).status, 405);
  const headers = { 'content-type': 'text/plain' };
  assert.equal((await plain('/embeddings', { method: 'post', body: '{}', headers })).status, 415);
  assert.equal((await plain('/embeddings', { method: 'post', body: '{"a":', headers: { 'content-type': 'application/json' } })).status, 400);
  const nobody = new OpenAI({ baseURL: 'http://127.0.0.1:1/v1', apiKey: 'any', maxRetries: 0 });
  await rejects(OpenAI.APIConnectionError, () => create('x', {}, nobody));
  return '404, 405, 415, 400, no connection';
});
await client.feature('too long', async () => {
  const error = await rejects(OpenAI.BadRequestError, () => create(SETUP.too_long));
  assert.deepEqual([error.type, error.param], ['invalid_request_error', 'input']);
  return says(error, 'maximum context length is 512 tokens', '602');
});
await client.feature('truncate', async () => {
  const { data, response } = await create(SETUP.too_long, { truncate: true }).withResponse();
  assert.equal(response.headers.get('x-embellama-truncated'), '1');
  same(data.data[0].embedding, 'truncated');
});
await client.feature('wrong key', async () => {
  const error = await rejects(OpenAI.AuthenticationError, () => create('x', {}, keyed('wrong-key')));
  assert.equal(error.code, 'invalid_api_key');
  same(await first(TEXTS.short, {}, keyed(SETUP.key)), 'short');
  return error.constructor.name;
});
await client.feature('rate limit', async () => {
  const error = await limited(OpenAI.RateLimitError, () => create('x', {}, keyed(SETUP.slow_key)));
  assert.equal(error.code, 'rate_limit_exceeded');
  assert.ok(error.headers.get('retry-after'));
  return error.constructor.name;
});
await client.feature('repeats', () => repeated(() => create('x', {}, keyed(SETUP.slow_key, 3))));

const azure = new Client('AzureOpenAI (JS)', version('openai'), 'OpenAI');
const azureAt = (endpoint, apiKey) => new AzureOpenAI({ endpoint, apiKey, apiVersion: '2024-10-21', maxRetries: 0 });

await azure.feature('single', async () => same(await first(TEXTS.short, {}, azureAt(URL_, 'any')), 'short'));
await azure.feature('batch', async () => sameBatch((await create(BATCH, {}, azureAt(URL_, 'any'))).data.map((d) => d.embedding)));
await azure.feature('unknown model', async () =>
  says(await rejects(OpenAI.NotFoundError, () => create('x', { model: 'no-such' }, azureAt(URL_, 'any'))), 'no-such'));
await azure.feature('wrong key', async () => {
  const error = await rejects(OpenAI.AuthenticationError, () => create('x', {}, azureAt(SETUP.keyed, 'wrong-key')));
  same(await first(TEXTS.short, {}, azureAt(SETUP.keyed, SETUP.key)), 'short');
  return error.constructor.name;
});
