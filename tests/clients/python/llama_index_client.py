"""LlamaIndex: its OpenAI, Ollama and text-embeddings-inference classes."""
import asyncio

from features import BATCH, MODEL, NAMES, SETUP, TEXTS, URL, Client, raises, same, same_batch, says
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

WHOLE = [n for n in NAMES if TEXTS[n]]  # text-embeddings-inference takes no empty text

client = Client("llama-index-embeddings-openai", "llama-index-embeddings-openai", "OpenAI")


def embedder(**more):
    return OpenAIEmbedding(**{"model_name": MODEL, "api_base": URL + "/v1", "api_key": "any", "max_retries": 0, **more})


@client.feature("single")
def _():
    same(embedder().get_query_embedding(TEXTS["short"]), "short")


@client.feature("batch")
def _():
    same_batch(embedder().get_text_embedding_batch(BATCH))


@client.feature("parallel")
def _():
    same_batch(asyncio.run(embedder(embed_batch_size=1, num_workers=4).aget_text_embedding_batch(BATCH)))


@client.feature("dimensions")
def _():
    same(embedder(dimensions=128).get_text_embedding(TEXTS["short"]), "short:128")


@client.feature("unknown model")
def _():
    return says(raises(Exception, lambda: embedder(model_name="no-such").get_text_embedding("x")), "no-such")


@client.feature("too long")
def _():
    return says(raises(Exception, lambda: embedder().get_text_embedding(SETUP["too_long"])), "512 tokens", "602")


ollama = Client("llama-index-embeddings-ollama", "llama-index-embeddings-ollama", "Ollama")


def ollamas(**more):
    return OllamaEmbedding(**{"model_name": MODEL, "base_url": URL, **more})


@ollama.feature("single")
def _():
    same(ollamas().get_query_embedding(TEXTS["short"]), "short")


@ollama.feature("batch")
def _():
    same_batch(ollamas().get_text_embedding_batch(BATCH))


@ollama.feature("unknown model")
def _():
    return says(raises(Exception, lambda: ollamas(model_name="no-such").get_text_embedding("x")), "no-such")


tei = Client("llama-index-embeddings-text-embeddings-inference", "llama-index-embeddings-text-embeddings-inference", "TEI")


def teis(**more):
    return TextEmbeddingsInference(**{"model_name": "plain", "base_url": URL, "text_instruction": "", "query_instruction": "", **more})


@tei.feature("single")
def _():
    same(teis().get_query_embedding(TEXTS["short"]), "short")


@tei.feature("batch")
def _():
    same_batch(teis().get_text_embedding_batch([TEXTS[n] for n in WHOLE]), WHOLE)


@tei.feature("too long")
def _():
    same(teis(truncate_text=True).get_text_embedding(SETUP["too_long"]), "truncated")
    return "cut, as the client asks"


@tei.feature("keys")
def _():
    for token in SETUP["key"], "Bearer " + SETUP["key"]:
        same(teis(base_url=SETUP["keyed"], auth_token=token).get_text_embedding(TEXTS["short"]), "short")
