"""schemathesis over /openapi.json, with all its checks: what the description allows must be taken, what it forbids refused, and every
reply be as described.

What is allowed depends on the model, too: of texts the length, of ids the vocabulary. For requests that have to succeed the description
is narrowed to what the served model can do; for those that have to fail it is used as it is."""
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

from features import SETUP, URL, Client

client = Client("schemathesis", "schemathesis", "description")
RANKING = r"rerank|score$|^/predict$"
LEFT_OUT = ["adminDrain"]  # it would end the server
SECONDS = int(os.environ.get("EMB_CLIENT_CONTRACT_SECONDS", "60"))  # for each of three runs
# A method that HTTP parsers do not know yet (QUERY) is 501, as RFC 9110 has it, and no 405.
CONFIG = """
[phases.coverage]
unexpected-methods = ["get", "put", "post", "delete", "options", "patch", "trace"]
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "501"]
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "413", "415", "422", "424", "429", "5xx"]
"""


def described(url):
    with urllib.request.urlopen(url + "/openapi.json", timeout=60) as reply:
        return json.load(reply)


def model(url):
    with urllib.request.urlopen(url + "/v1/models", timeout=60) as reply:
        return json.load(reply)["data"][0]


def everywhere(v, change):
    """change(key, value) for all members, deepest first; what it returns takes the value's place, None removes it."""
    if isinstance(v, dict):
        out = {key: change(key, everywhere(value, change)) for key, value in v.items()}
        return {key: value for key, value in out.items() if value is not None or key in ("const", "example", "default")}
    return [change("", everywhere(value, change)) for value in v] if isinstance(v, list) else v


def narrowed(spec, about):
    schemas = spec["components"]["schemas"]
    ranks = about["labels"] > 0
    for name, size in ("Text", 60), ("NonEmpty", 60):
        schemas[name]["maxLength"] = size
    schemas["TokenId"]["maximum"] = about["meta"]["n_vocab"] - 1
    schemas["TokenIds"]["maxItems"] = 60
    schemas["Dimensions"]["maximum"] = about["dimensions"]
    schemas["PromptName"] = {"enum": ["query", "document", None]}
    schemas["TokenizeTei"]["properties"]["prompt_name"] = {"type": "null"}
    schemas["Any"] = {"type": ["boolean", "null", "string"]}
    schemas["Model"] = {"enum": [about["id"]]}
    schemas["OptionalModel"] = {"enum": [about["id"], None]}
    schemas["OllamaModel"] = {"enum": [about["id"], about["id"] + ":latest"]}
    spec["components"]["parameters"]["x-request-timeout-ms"]["schema"]["minimum"] = 60000

    def change(key, value):
        if key in ("chunk", "late_chunking", "rank_fields"):  # of which some values exclude others
            return None
        if key == "return" and isinstance(value, dict):
            return {"enum": ["dense", None]}
        if key == "rank_by":
            return {"enum": ["score", None]} if ranks else {"const": "cosine"}
        if key in ("truncate_prompt_tokens", "Limit", "max_tokens_per_doc") and isinstance(value, dict):
            return value | {"minimum": 16, "maximum": 1 << 30}
        if key == "maxItems":
            return min(value, 8)
        if key == "required" and isinstance(value, list) and "query" in value:
            return value if ranks else [*value, "rank_by"]
        return value

    return closed(everywhere(spec, change))


def references(v):
    return re.findall(r'"#/components/schemas/(\w+)"', json.dumps(v))


def closed(spec):
    """Requests without members that are not known. The server passes them over, which other tests try; here they would only be
    numbers that are too large for most programs."""
    def close(key, value):
        return value | {"additionalProperties": False} if isinstance(value, dict) and "properties" in value else value

    schemas, found = spec["components"]["schemas"], set()
    bodies = [op["requestBody"]["content"]["application/json"] for methods in spec["paths"].values() for op in methods.values()
              if "requestBody" in op]
    names = references(bodies)
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            names += references(schemas[name])
    for body in bodies:
        body["schema"] = everywhere({"": body["schema"]}, close)[""]
    for name in found:
        schemas[name] = everywhere({"": schemas[name]}, close)[""]
    return spec


def paired(spec):
    """Scores: one and several only, since as many of both cannot be said in a schema. Instances: without options, which must agree."""
    schemas = spec["components"]["schemas"]
    one = {"anyOf": [{"$ref": "#/components/schemas/Text"}, {"$ref": "#/components/schemas/TextObject"}]}
    for side in schemas["ScoreRequest"]["anyOf"]:
        side["properties"][side["required"][0]] = one
    vertex = spec["paths"]["/vertex"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    vertex["properties"]["instances"]["items"] = {"type": "object", "required": ["inputs"], "additionalProperties": False,
                                                  "properties": {"inputs": {"$ref": "#/components/schemas/TeiInputs"}}}
    vertex["properties"]["instances"]["maxItems"] = 4
    return spec


def run(spec, url, mode, phases, *more):
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/openapi.json", "w", encoding="utf-8") as file:
            json.dump(spec, file)
        with open(folder + "/schemathesis.toml", "w", encoding="utf-8") as file:
            file.write(CONFIG)
        program = os.path.join(os.path.dirname(sys.executable), "st")
        command = [program, "--config-file", "schemathesis.toml", "run", "openapi.json", "--url", url, "--checks", "all", "--mode", mode,
                   "--phases", phases, "--max-examples", "20", "--seed", "1", "--max-time", str(SECONDS),
                   "--no-shrink", "--suppress-health-check", "all", "--request-timeout", "60", "--warnings", "off", *more]
        for operation in LEFT_OUT:
            command += ["--exclude-operation-id", operation]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=SECONDS + 120)
    if os.environ.get("EMB_CLIENT_CONTRACT_LOG"):
        with open(os.environ["EMB_CLIENT_CONTRACT_LOG"], "a", encoding="utf-8") as file:
            file.write(done.stdout)
    found = re.findall(r"(\d+) generated", done.stdout)
    assert done.returncode == 0, f"exit status {done.returncode}: " + done.stdout[-3000:]
    return f"{found[-1] if found else '?'} requests"


@client.feature("what is allowed")
def _():
    refused = ["--exclude-operation-id", "teiEmbedSparse", "--exclude-operation-id", "teiPredict"]  # whatever is sent: no such model
    return run(paired(narrowed(described(URL), model(URL))), URL, "positive", "examples,coverage,fuzzing", *refused)


@client.feature("what is allowed, reranker")
def _():
    url = SETUP["rerank"]["url"]
    return run(paired(narrowed(described(url), model(url))), url, "positive", "examples,coverage,fuzzing", "--include-path-regex",
               RANKING)


@client.feature("what is forbidden")
def _():
    spec = described(URL)
    for methods in spec["paths"].values():  # without headers: one that is not known is no fault, and a short time limit is kept
        for op in methods.values():
            op["parameters"] = [p for p in op.get("parameters", []) if not p["$ref"].rpartition("/")[2].startswith("x-")]
    return run(spec, URL, "negative", "coverage,fuzzing", "--exclude-checks", "positive_data_acceptance")
