"""ollama-python: embed, embeddings, list, show, ps and its errors."""
import asyncio

import ollama
from features import BATCH, MODEL, SETUP, TEXTS, URL, Client, raises, same, same_batch, says

client = Client("ollama (Python)", "ollama", "Ollama")
api = ollama.Client(host=URL)


@client.feature("single")
def _():
    reply = api.embed(MODEL, TEXTS["short"])
    same(reply.embeddings[0], "short")
    assert reply.prompt_eval_count > 0 and reply.total_duration > 0


@client.feature("batch")
def _():
    same_batch(api.embed(MODEL, BATCH, options={"num_ctx": 512}, keep_alive="5m").embeddings)


@client.feature("old route")
def _():
    reply = api.embeddings(MODEL, TEXTS["short"])
    assert len(reply.embedding) == SETUP["dim"]


@client.feature("dimensions")
def _():
    same(api.embed(MODEL, TEXTS["short"], dimensions=128).embeddings[0], "short:128")


@client.feature("empty text")
def _():
    assert list(api.embed(MODEL, "").embeddings) == []
    same(api.embed(MODEL, [""]).embeddings[0], "empty")
    return "none for \"\", one for [\"\"], as Ollama does"


@client.feature("truncate")
def _():
    same(api.embed(MODEL, SETUP["too_long"]).embeddings[0], "truncated")


@client.feature("too long")
def _():
    error = raises(ollama.ResponseError, lambda: api.embed(MODEL, SETUP["too_long"], truncate=False))
    assert error.status_code == 400
    return says(error, "context length")


@client.feature("parallel")
def _():
    async def many():
        a = ollama.AsyncClient(host=URL)
        return await asyncio.gather(*(a.embed(MODEL, TEXTS["short"]) for _ in range(16)))

    for reply in asyncio.run(many()):
        same(reply.embeddings[0], "short")


@client.feature("models")
def _():
    assert MODEL in [m.model.removesuffix(":latest") for m in api.list().models]
    shown = api.show(MODEL)
    assert "embedding" in shown.capabilities and any(k.endswith(".embedding_length") for k in shown.modelinfo)
    assert api.ps().models
    same(api.embed(MODEL + ":latest", TEXTS["short"]).embeddings[0], "short")


@client.feature("unknown model")
def _():
    error = raises(ollama.ResponseError, lambda: api.embed("no-such", "x"))
    assert error.status_code == 404
    raises(ollama.ResponseError, lambda: api.show("no-such"))
    return says(error, "no-such", "not found")
