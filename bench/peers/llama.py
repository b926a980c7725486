"""llama.cpp through llama-cpp-python, on a GGUF file. Its embed fills batches of up to 512 tokens by itself."""
import llama_cpp
import numpy as np
import protocol

SETTINGS = {"default": {}, "flash attention": {"flash_attn": True}}


class Peer:
    name = "llama-cpp-python"
    version = llama_cpp.__version__
    settings = list(SETTINGS)

    def __init__(self, model, _, threads, __):
        self.path = model
        self.threads = threads
        self.current = None
        self.use(self.settings[0])
        self.dim = self.model.n_embd()

    def use(self, setting):
        if setting != self.current:
            self.current = setting
            self.model = llama_cpp.Llama(self.path, embedding=True, n_ctx=protocol.MAX_LENGTH, n_batch=protocol.MAX_LENGTH,
                                         n_ubatch=protocol.MAX_LENGTH, n_threads=self.threads,
                                         n_threads_batch=self.threads, verbose=False, **SETTINGS[setting])

    def embed(self, texts):
        return np.array(self.model.embed(texts, normalize=True, truncate=True), np.float32)

    def count(self, texts):
        return sum(min(len(self.model.tokenize(t.encode())), protocol.MAX_LENGTH) for t in texts)


if __name__ == "__main__":
    protocol.serve(Peer)
