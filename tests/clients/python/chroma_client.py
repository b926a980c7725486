"""chromadb's embedding functions: OpenAI's, Ollama's, Hugging Face's server."""
import os

import openai
from chromadb.utils.embedding_functions import (HuggingFaceEmbeddingServer, OllamaEmbeddingFunction, OpenAIEmbeddingFunction)
from features import BATCH, MODEL, NAMES, SETUP, TEXTS, URL, Client, raises, same, same_batch, says

os.environ["CHROMA_KEY"] = "any"
WHOLE = [n for n in NAMES if TEXTS[n]]


def some():
    return [TEXTS[n] for n in WHOLE]


client = Client("chromadb OpenAIEmbeddingFunction", "chromadb", "OpenAI")


def openais(**more):
    return OpenAIEmbeddingFunction(**{"api_base": URL + "/v1", "api_key_env_var": "CHROMA_KEY", "model_name": MODEL, **more})


@client.feature("single")
def _():
    same(openais()([TEXTS["short"]])[0], "short")


@client.feature("batch")
def _():
    same_batch(openais()(BATCH))


@client.feature("unknown model")
def _():
    return says(raises(openai.NotFoundError, lambda: openais(model_name="no-such")(["x"])), "no-such")


ollama = Client("chromadb OllamaEmbeddingFunction", "chromadb", "Ollama")


@ollama.feature("single")
def _():
    same(OllamaEmbeddingFunction(url=URL, model_name=MODEL)([TEXTS["short"]])[0], "short")


@ollama.feature("batch")
def _():
    same_batch(OllamaEmbeddingFunction(url=URL + "/api/embeddings", model_name=MODEL)(some()), WHOLE)


tei = Client("chromadb HuggingFaceEmbeddingServer", "chromadb", "TEI")


@tei.feature("single")
def _():
    for path in "/embed", "/":
        same(HuggingFaceEmbeddingServer(url=URL + path)([TEXTS["short"]])[0], "short")


@tei.feature("batch")
def _():
    same_batch(HuggingFaceEmbeddingServer(url=URL + "/embed")(some()), WHOLE)


@tei.feature("keys")
def _():
    os.environ["CHROMA_SERVER_KEY"] = SETUP["key"]
    function = HuggingFaceEmbeddingServer(url=SETUP["keyed"] + "/embed", api_key_env_var="CHROMA_SERVER_KEY")
    same(function([TEXTS["short"]])[0], "short")
