"""Writes a BERT of seeded random weights in the shape of a known model, for speed only, and prints where it is.

    random_model.py SHAPE TOKENIZER-DIR

The directory goes into the user's cache folder; it has the tokenizer of TOKENIZER-DIR, whose vocabulary may be smaller than the
model's. Speed does not depend on the values of weights.
"""
import json
import os
import shutil
import sys

import numpy as np
from safetensors.numpy import save_file

# hidden, layers, heads, intermediate, vocabulary
SHAPES = {
    "bge-base": (768, 12, 12, 3072, 30522),
    "bge-large": (1024, 24, 16, 4096, 30522),
    "multilingual-e5-small": (384, 12, 12, 1536, 250037),
}
POSITIONS = 512
STANDARD_DEVIATION = 0.02  # BERT's own initialisation


def config(shape):
    hidden, layers, heads, intermediate, vocabulary = SHAPES[shape]
    return {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "intermediate_size": intermediate, "vocab_size": vocabulary,
            "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
            "position_embedding_type": "absolute", "pad_token_id": 0, "initializer_range": STANDARD_DEVIATION}


def tensors(shape):
    hidden, layers, _, intermediate, vocabulary = SHAPES[shape]
    draw = np.random.default_rng(sum(shape.encode()))
    out = {}

    def matrix(name, rows, columns):
        out[name] = draw.standard_normal((rows, columns), np.float32) * np.float32(STANDARD_DEVIATION)

    def linear(name, rows, columns):
        matrix(name + ".weight", rows, columns)
        out[name + ".bias"] = draw.standard_normal(rows, np.float32) * np.float32(STANDARD_DEVIATION)

    def norm(name):
        out[name + ".weight"] = 1 + draw.standard_normal(hidden, np.float32) * np.float32(0.1)
        out[name + ".bias"] = draw.standard_normal(hidden, np.float32) * np.float32(0.1)

    matrix("embeddings.word_embeddings.weight", vocabulary, hidden)
    matrix("embeddings.position_embeddings.weight", POSITIONS, hidden)
    matrix("embeddings.token_type_embeddings.weight", 2, hidden)
    norm("embeddings.LayerNorm")
    for i in range(layers):
        prefix = f"encoder.layer.{i}."
        for part in ("query", "key", "value"):
            linear(f"{prefix}attention.self.{part}", hidden, hidden)
        linear(prefix + "attention.output.dense", hidden, hidden)
        norm(prefix + "attention.output.LayerNorm")
        linear(prefix + "intermediate.dense", intermediate, hidden)
        linear(prefix + "output.dense", hidden, intermediate)
        norm(prefix + "output.LayerNorm")
    linear("pooler.dense", hidden, hidden)
    return out


def ensure(shape, tokenizer_dir):
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    target = os.path.join(cache, "embellama", "bench", shape + "-random")
    if os.path.isdir(target):
        return target
    work = f"{target}.{os.getpid()}"
    os.makedirs(work)
    with open(f"{work}/config.json", "w", encoding="utf-8") as f:
        json.dump(config(shape), f, indent=1)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if os.path.exists(f"{tokenizer_dir}/{name}"):
            shutil.copy(f"{tokenizer_dir}/{name}", work)
    save_file(tensors(shape), f"{work}/model.safetensors", metadata={"format": "pt"})
    os.rename(work, target)
    return target


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(f"usage: random_model.py {'|'.join(SHAPES)} TOKENIZER-DIR")
    print(ensure(*sys.argv[1:]))
