"""Haystack: text and document embedders of OpenAI's dialect."""
import openai
from features import BATCH, MODEL, SETUP, TEXTS, URL, Client, raises, same, same_batch, says
from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret

client = Client("haystack-ai", "haystack-ai", "OpenAI")


def options(**more):
    return {"api_base_url": URL + "/v1", "api_key": Secret.from_token("any"), "model": MODEL, "max_retries": 0, **more}


@client.feature("single")
def _():
    got = OpenAITextEmbedder(**options()).run(TEXTS["short"])
    assert got["meta"]["usage"]["prompt_tokens"] > 0
    same(got["embedding"], "short")


@client.feature("batch")
def _():
    got = OpenAIDocumentEmbedder(**options(progress_bar=False)).run([Document(content=text) for text in BATCH])
    same_batch([d.embedding for d in got["documents"]])


@client.feature("dimensions")
def _():
    same(OpenAITextEmbedder(**options(dimensions=128)).run(TEXTS["short"])["embedding"], "short:128")


@client.feature("unknown model")
def _():
    embedder = OpenAITextEmbedder(**options(model="no-such"))
    return says(raises(openai.NotFoundError, lambda: embedder.run("x")), "no-such")


@client.feature("too long")
def _():
    embedder = OpenAITextEmbedder(**options())
    return says(raises(openai.BadRequestError, lambda: embedder.run(SETUP["too_long"])), "512 tokens", "602")
