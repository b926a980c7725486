#!/usr/bin/env python3
"""Golden vectors of quantised GGUF files: what the bits in the file give when the reference computes with them in float32.

    v/bin/pip install sentence-transformers gguf
    v/bin/python tools/golden/gguf_vectors.py MODEL_DIRECTORY FILE.gguf...

Every tensor is dequantised by the `gguf` package and put into the transformers model of MODEL_DIRECTORY, so that a difference
is ours and not the quantisation's. Writes tests/golden/FILE.json for each file.
"""
import json
import pathlib
import sys

import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from transformers import AutoModel, AutoTokenizer

from vectors import HERE, TEXTS, floats

EMBEDDINGS = {"token_embd.weight": "embeddings.word_embeddings.weight",
              "position_embd.weight": "embeddings.position_embeddings.weight",
              "token_types.weight": "embeddings.token_type_embeddings.weight",
              "token_embd_norm.weight": "embeddings.LayerNorm.weight",
              "token_embd_norm.bias": "embeddings.LayerNorm.bias"}
LAYER = {"attn_q": "attention.self.query", "attn_k": "attention.self.key", "attn_v": "attention.self.value",
         "attn_output": "attention.output.dense", "attn_output_norm": "attention.output.LayerNorm",
         "ffn_up": "intermediate.dense", "ffn_down": "output.dense", "layer_output_norm": "output.LayerNorm"}


def reference_name(name):
    if name in EMBEDDINGS:
        return EMBEDDINGS[name]
    _, layer, part, kind = name.split(".")
    return f"encoder.layer.{layer}.{LAYER[part]}.{kind}"


def main():
    directory, files = sys.argv[1], sys.argv[2:]
    tokenizer = AutoTokenizer.from_pretrained(directory)
    for file in files:
        model = AutoModel.from_pretrained(directory).eval()
        state = model.state_dict()
        for tensor in GGUFReader(file).tensors:
            target = state[reference_name(tensor.name)]
            target.copy_(torch.tensor(dequantize(tensor.data, tensor.tensor_type).copy()).reshape(target.shape))
        rows = []
        for text in TEXTS[::2]:
            inputs = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
            with torch.no_grad():
                vector = model(**inputs).last_hidden_state[0].mean(0)
            rows.append({"text": text, "ids": inputs["input_ids"][0].tolist(), "vector": floats(vector / vector.norm())})
        out = HERE / (pathlib.Path(file).stem + ".json")
        out.write_text(json.dumps(rows, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
