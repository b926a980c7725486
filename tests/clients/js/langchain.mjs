/* LangChain.js: OpenAIEmbeddings and OllamaEmbeddings, with their defaults. */
import { OllamaEmbeddings } from '@langchain/ollama';
import { OpenAIEmbeddings } from '@langchain/openai';
import { BATCH, Client, MODEL, rejects, same, sameBatch, says, SETUP, TEXTS, URL_, version } from './features.mjs';

const client = new Client('@langchain/openai', version('@langchain/openai'), 'OpenAI');
const embedder = (more = {}) =>
  new OpenAIEmbeddings({ model: MODEL, apiKey: 'any', maxRetries: 0, configuration: { baseURL: `${URL_}/v1` }, ...more });

await client.feature('single', async () => same(await embedder().embedQuery(TEXTS.short), 'short'));
await client.feature('batch', async () => sameBatch(await embedder().embedDocuments(BATCH)));
await client.feature('parallel', async () => sameBatch(await embedder({ batchSize: 1 }).embedDocuments(BATCH)));
await client.feature('dimensions', async () => same(await embedder({ dimensions: 128 }).embedQuery(TEXTS.short), 'short:128'));
await client.feature('empty text', async () => same((await embedder().embedDocuments(['']))[0], 'empty'));
await client.feature('unknown model', async () => says(await rejects(Error, () => embedder({ model: 'no-such' }).embedQuery('x')), 'no-such'));
await client.feature('too long', async () => says(await rejects(Error, () => embedder().embedQuery(SETUP.too_long)), '512 tokens', '602'));

const ollama = new Client('@langchain/ollama', version('@langchain/ollama'), 'Ollama');
const ollamas = (more = {}) => new OllamaEmbeddings({ model: MODEL, baseUrl: URL_, maxRetries: 0, ...more });

await ollama.feature('single', async () => same(await ollamas().embedQuery(TEXTS.short), 'short'));
await ollama.feature('batch', async () => sameBatch(await ollamas().embedDocuments(BATCH)));
await ollama.feature('unknown model', async () => says(await rejects(Error, () => ollamas({ model: 'no-such' }).embedQuery('x')), 'no-such'));
await ollama.feature('too long', async () => says(await rejects(Error, () => ollamas().embedQuery(SETUP.too_long)), 'context length'));
