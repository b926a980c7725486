"""OpenVINO: f32, bf16, and int8 by NNCF's post-training quantisation, converted from the transformers model as optimum does."""
import sys

import batches
import numpy as np
import openvino as ov
import protocol
import torch
from transformers import AutoModel

HINTS = {"latency": "LATENCY", "throughput": "THROUGHPUT"}


class Pooled(torch.nn.Module):
    """The encoder, mean pooling and l2 normalisation, all inside the graph."""

    def __init__(self, model_dir):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(model_dir, attn_implementation="sdpa", dtype=torch.float32).eval()

    def forward(self, input_ids, attention_mask):
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean, dim=1)


def inputs(ids, lengths):
    mask = np.arange(ids.shape[1], dtype=np.int64)[None, :] < lengths[:, None]
    return {"input_ids": ids.astype(np.int64), "attention_mask": mask.astype(np.int64)}


def convert(model_dir):
    module = Pooled(model_dir)
    example = {"input_ids": torch.ones(2, 16, dtype=torch.int64), "attention_mask": torch.ones(2, 16, dtype=torch.int64)}
    with torch.no_grad():
        model = ov.convert_model(module, example_input=example)
    for port, name in zip(model.inputs, example):
        port.get_node().set_partial_shape(ov.PartialShape([-1, -1]))
        port.get_node().set_element_type(ov.Type.i64)
        port.get_tensor().set_names({name})
    model.validate_nodes_and_infer_types()
    return model


class Peer(batches.SortedBatches):
    name = "OpenVINO"
    version = ov.__version__.split("-")[0]

    def __init__(self, model_dir, precision, threads, calibration):
        super().__init__(model_dir)
        if precision not in ("f32", "bf16", "int8"):
            sys.exit(f"OpenVINO: no precision {precision}")
        self.threads = threads
        self.model = convert(model_dir)
        self.dim = self.model.outputs[0].get_partial_shape()[1].get_length()
        self.core = ov.Core()
        capabilities = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in capabilities:
            sys.exit("OpenVINO: this CPU has no bf16")
        if precision == "int8":
            self.model = self.quantise(calibration)
        # Operations that stay in floating point beside int8 ones run in bf16 where the CPU has it: the faster choice.
        self.float_type = ov.Type.bf16 if precision != "f32" and "BF16" in capabilities else ov.Type.f32
        self.settings = list(HINTS)
        self.current = None

    def quantise(self, calibration):
        import nncf
        if not calibration:
            sys.exit("OpenVINO int8: no texts to calibrate with")
        data = nncf.Dataset([inputs(np.array([i], np.int32), np.array([len(i)])) for i in self.tokenize(calibration)])
        return nncf.quantize(self.model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(calibration))

    def use(self, setting):
        if setting == self.current:
            return
        self.current = setting
        self.set_streams([])  # the old one's memory goes first
        compiled = self.core.compile_model(self.model, "CPU", {
            "PERFORMANCE_HINT": HINTS[setting], "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": self.float_type})
        requests = [compiled.create_infer_request()
                    for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))]
        self.set_streams([lambda ids, lengths, r=r: r.infer(inputs(ids, lengths), share_inputs=True)[0].copy()
                          for r in requests])


if __name__ == "__main__":
    protocol.serve(Peer)
