"""PyTorch through sentence-transformers: f32 and bf16. Its encode sorts by length and batches by itself."""
import sys

import protocol
import sentence_transformers
import torch

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Peer:
    name = "PyTorch"
    version = torch.__version__.split("+")[0]
    settings = ["sentence-transformers"]

    def __init__(self, model_dir, precision, threads, _):
        if precision not in TYPES:
            sys.exit(f"PyTorch: no precision {precision}")
        torch.set_num_threads(threads)
        self.model = sentence_transformers.SentenceTransformer(
            model_dir, device="cpu", local_files_only=True,
            model_kwargs={"dtype": TYPES[precision], "attn_implementation": "sdpa"})
        self.model.max_seq_length = protocol.MAX_LENGTH
        self.dim = len(self.embed(["one"])[0])

    def use(self, setting):
        pass

    def embed(self, texts):
        return self.model.encode(texts, batch_size=protocol.BATCH, normalize_embeddings=True, show_progress_bar=False)

    def count(self, texts):
        ids = self.model.tokenizer(texts, truncation=True, max_length=protocol.MAX_LENGTH)["input_ids"]
        return sum(map(len, ids))


if __name__ == "__main__":
    protocol.serve(Peer)
