"""LangChain: OpenAIEmbeddings with its defaults (token ids of cl100k), without them, OllamaEmbeddings, Cohere's classes."""
import openai
from features import BATCH, MODEL, NAMES, SETUP, TEXTS, URL, Client, raises, same, same_batch, says
from langchain_cohere import CohereEmbeddings, CohereRerank
from langchain_ollama import OllamaEmbeddings
from langchain_openai import OpenAIEmbeddings

client = Client("langchain-openai, defaults", "langchain-openai", "OpenAI")


def embedder(url, **more):
    return OpenAIEmbeddings(model=MODEL, base_url=url + "/v1", api_key="any", **more)


@client.feature("single")
def _():
    same(embedder(SETUP["token_ids"]).embed_query(TEXTS["short"]), "short")
    return "with --token-ids"


@client.feature("batch")
def _():
    same_batch(embedder(SETUP["token_ids"]).embed_documents(BATCH))
    return "with --token-ids"


@client.feature("empty text")
def _():
    same(embedder(SETUP["token_ids"]).embed_documents(["", TEXTS["short"]])[0], "empty")


@client.feature("token ids")
def _():
    error = raises(openai.BadRequestError, lambda: embedder(URL).embed_query(SETUP["far_ids"]))
    return says(error, "check_embedding_ctx_length")


plain = Client("langchain-openai, check_embedding_ctx_length=False", "langchain-openai", "OpenAI")


def plainly(**more):
    return embedder(URL, check_embedding_ctx_length=False, **more)


@plain.feature("single")
def _():
    same(plainly().embed_query(TEXTS["short"]), "short")


@plain.feature("batch")
def _():
    same_batch(plainly().embed_documents(BATCH))


@plain.feature("empty text")
def _():
    same(plainly().embed_documents([""])[0], "empty")


@plain.feature("dimensions")
def _():
    same(plainly(dimensions=128).embed_query(TEXTS["short"]), "short:128")


@plain.feature("too long")
def _():
    return says(raises(openai.BadRequestError, lambda: plainly().embed_query(SETUP["too_long"])), "512 tokens", "602")


@plain.feature("unknown model")
def _():
    api = OpenAIEmbeddings(model="no-such", base_url=URL + "/v1", api_key="any", check_embedding_ctx_length=False)
    return says(raises(openai.NotFoundError, lambda: api.embed_query("x")), "no-such")


ollama = Client("langchain-ollama", "langchain-ollama", "Ollama")


def ollamas(**more):
    return OllamaEmbeddings(**{"model": MODEL, "base_url": URL, **more})


@ollama.feature("single")
def _():
    same(ollamas().embed_query(TEXTS["short"]), "short")


@ollama.feature("batch")
def _():
    same_batch(ollamas(keep_alive=10).embed_documents(BATCH))


@ollama.feature("models")
def _():
    same(ollamas(validate_model_on_init=True).embed_query(TEXTS["short"]), "short")


@ollama.feature("unknown model")
def _():
    return says(raises(Exception, lambda: ollamas(model="no-such").embed_query("x")), "no-such", "404")


cohere = Client("langchain-cohere", "langchain-cohere", "Cohere")


@cohere.feature("single")
def _():
    same(CohereEmbeddings(model=MODEL, cohere_api_key="any", base_url=URL).embed_query(TEXTS["short"]), "short")


@cohere.feature("batch")
def _():
    names = [n for n in NAMES if TEXTS[n]]
    api = CohereEmbeddings(model=MODEL, cohere_api_key="any", base_url=URL)
    same_batch(api.embed_documents([TEXTS[n] for n in names]), names)


if SETUP["rerank"]:

    @cohere.feature("rerank")
    def _():
        rerank = SETUP["rerank"]
        api = CohereRerank(model=rerank["model"], cohere_api_key="any", base_url=rerank["url"])
        got = api.rerank(rerank["documents"], rerank["query"], top_n=2)
        assert [r["index"] for r in got] == rerank["order"][:2], got
