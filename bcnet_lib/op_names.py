"""Names of torch operations, sorted by the rule that their channels follow (``trace.py``)."""

__all__ = [
    "BINARY",
    "CONV",
    "CONV_T",
    "ID_VIEW",
    "POOL",
    "REDUCE",
    "SPATIAL",
    "UNARY",
    "VIEW",
    "bare_name",
]

CONV = {"conv1d", "conv2d", "conv3d"}
CONV_T = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
BINARY = {
    *("add", "sub", "rsub", "mul", "div", "truediv", "true_divide", "maximum", "minimum"),
    *("addcmul", "lerp", "where", "pow", "multiply", "subtract", "divide"),
    *("eq", "gt", "lt", "ge", "le"),
}
UNARY = {
    *("relu", "relu6", "hardtanh", "sigmoid", "silu", "hardswish", "hardsigmoid", "gelu", "tanh"),
    *("leaky_relu", "elu", "selu", "celu", "softplus", "softsign", "mish", "logsigmoid"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout"),
    *("clone", "contiguous", "detach", "to", "type", "float", "half", "bfloat16", "double", "cpu"),
    *("neg", "abs", "exp", "log", "sqrt", "rsqrt", "square", "clamp", "clip", "erf", "sign"),
    *("softmax", "log_softmax", "normalize", "requires_grad", "type_as", "threshold", "to_copy"),
    *("local_response_norm", "positive", "reciprocal", "round", "floor", "nan_to_num"),
    *("masked_fill", "hardshrink"),
}
POOL = {
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "lp_pool2d"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
    "max_pool2d_with_indices",
}
SPATIAL = POOL | {"interpolate", "upsample"}
VIEW = {
    *("flatten", "reshape", "view", "permute", "transpose", "unsqueeze", "squeeze", "expand"),
    *("expand_as", "chunk", "split", "unbind", "cat", "concat", "concatenate", "stack", "getitem"),
    *("narrow", "select", "flip", "roll", "repeat", "movedim", "swapaxes", "unflatten", "tile"),
    *("split_with_sizes", "tensor_split", "ravel", "view_as", "reshape_as", "pixel_shuffle"),
    *("pixel_unshuffle", "channel_shuffle", "broadcast_to", "repeat_interleave", "t", "swapdims"),
}
# ids are expanded tensors, which view() refuses
ID_VIEW = {"getitem": "__getitem__", "view": "reshape", "view_as": "reshape_as"}
REDUCE = {"mean", "sum", "amax", "amin", "max", "min", "var", "std", "logsumexp", "prod"}


def bare_name(func) -> str:
    """The bare name of an operation: add for torch.add, Tensor.add_, __iadd__ and __radd__."""
    name = getattr(func, "__name__", str(func)).strip("_")
    return name[1:] if name[1:] in ("add", "sub", "mul", "truediv") else name
