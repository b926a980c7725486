"""ONNX Runtime: f32, and its dynamic int8 quantisation: u8 activations, s8 weights with a scale a channel.

Of its variants this has the best cosine among the fastest: one scale a matrix is no faster (worst cosine 0.88 instead of 0.99),
u8 weights are a third slower, quantised embedding tables no faster.
"""
import os
import sys
import tempfile

import batches
import bert_onnx
import onnx
import onnxruntime
import protocol
from onnxruntime.quantization import QuantType, quantize_dynamic


def dynamic_int8(model_bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "int8.onnx")
        quantize_dynamic(onnx.load_from_string(model_bytes), path, weight_type=QuantType.QInt8, per_channel=True,
                         op_types_to_quantize=["MatMul", "Attention"],
                         extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
        with open(path, "rb") as f:
            return f.read()


class Peer(batches.SortedBatches):
    name = "ONNX Runtime"
    version = onnxruntime.__version__

    def __init__(self, model_dir, precision, threads, _):
        super().__init__(model_dir)
        self.model = bert_onnx.build(model_dir)
        if precision == "int8":
            self.model = dynamic_int8(self.model)
        elif precision != "f32":
            sys.exit(f"ONNX Runtime has no {precision} on a CPU")
        self.layouts = {f"{s} x {t} threads": (s, t) for s, t in batches.streams_by_threads(threads)}
        self.settings = list(self.layouts)
        self.current = None
        self.use(self.settings[0])

    def session(self, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])

    def use(self, setting):
        if setting == self.current:
            return
        self.current = setting
        self.set_streams([])  # the old session's memory goes first
        streams, threads = self.layouts[setting]
        # Runs of one session may overlap, each on its caller's thread where the session has no other.
        session = self.session(threads)
        self.dim = session.get_outputs()[0].shape[1]
        self.set_streams([lambda ids, lengths: session.run(None, {"ids": ids, "lengths": lengths})[0]] * streams)


if __name__ == "__main__":
    protocol.serve(Peer)
