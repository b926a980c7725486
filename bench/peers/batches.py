"""Tokenising and sorted batches, for peers that take padded batches of token ids."""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from protocol import BATCH, MAX_LENGTH
from tokenizers import Tokenizer


def streams_by_threads(threads):
    """[(streams, threads of each)]: all threads on one batch, or each on its own."""
    return [(1, threads)] + ([(threads, 1)] if threads > 1 else [])


class SortedBatches:
    """Tokenises with Hugging Face's tokenizers, sorts by length, pads batches of 32, and shares them among streams. A subclass
    sets streams: one function a stream, from ids [batch, length] and lengths [batch], both int32, to vectors [batch, dim]."""

    def __init__(self, model_dir):
        self.tokenizer = Tokenizer.from_file(f"{model_dir}/tokenizer.json")
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MAX_LENGTH)
        self.streams = []
        self.pool = None

    def set_streams(self, streams):
        if self.pool:
            self.pool.shutdown()
        self.streams = streams
        self.pool = ThreadPoolExecutor(len(streams)) if len(streams) > 1 else None

    def tokenize(self, texts):
        if len(texts) == 1:
            return [self.tokenizer.encode(texts[0]).ids]
        return [e.ids for e in self.tokenizer.encode_batch_fast(texts)]

    def count(self, texts):
        return sum(map(len, self.tokenize(texts)))

    def embed(self, texts):
        ids = self.tokenize(texts)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]), reverse=True)
        size = max(1, min(BATCH, len(order) // len(self.streams)))
        batches = [order[first:first + size] for first in range(0, len(order), size)]
        free = list(self.streams)

        def run(batch):
            lengths = np.array([len(ids[i]) for i in batch], np.int32)
            padded = np.zeros((len(batch), lengths.max()), np.int32)
            for row, i in enumerate(batch):
                padded[row, :lengths[row]] = ids[i]
            stream = free.pop()
            vectors = stream(padded, lengths)
            free.append(stream)
            return vectors

        results = list(self.pool.map(run, batches)) if self.pool else [run(batch) for batch in batches]
        out = np.empty((len(ids), results[0].shape[1]), np.float32)
        for batch, vectors in zip(batches, results):
            out[batch] = vectors
        return out
