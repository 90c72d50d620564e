"""Follow every channel of a network through one forward pass.

Each channel that a convolution or linear layer makes gets an integer id. A forward pass on the
``meta`` device carries, beside each activation, a tensor of ids of the same shape; the model's own
view operations (flatten, concat, chunk, ...) are applied to the ids as well. Where two tensors are
added or multiplied, the ids that meet are merged (union-find): those channels must be kept or
dropped together. Parameters get ids too, one vector per axis, merged with the channels they act on.

``graph.py`` turns the merged ids into coupled groups. Nothing is computed and no weight is read.
"""

from math import prod

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from .ids import FIXED, NEUTRAL, OUTPUT, Op, Trace, Use
from .op_names import BINARY, CONV, CONV_T, ID_VIEW, POOL, REDUCE, SPATIAL, UNARY, VIEW, bare_name


def trace(meta: nn.Module, example: Tensor, train: bool, into: Trace) -> None:
    """Run ``meta`` (a copy of the model on the meta device) once and merge ids into ``into``.

    Args:
        example: meta tensor, (B, C, H, W).
        train: trace in training mode (auxiliary heads) or in evaluation mode.
    """
    meta.train(train)
    mode = _Carry(meta, into)
    x = example.clone()
    mode.tag(x, torch.full((1,) * x.dim(), FIXED).expand(x.shape))
    with torch.no_grad(), mode:
        out = meta(x)
    for t in _tensors([out]):
        if (ids := mode.ids(t)) is not None:
            into.freeze(_unique(ids), OUTPUT)


class _Carry(TorchFunctionMode):
    """The forward pass that carries ids: one rule a kind of operation, by the operation's name."""

    def __init__(self, meta: nn.Module, record: Trace):
        super().__init__()
        self.record = record
        self.tags: dict[int, tuple[Tensor, Tensor]] = {}  # id(tensor) -> (kept alive, ids)
        self.pooled: dict[int, int] = {}  # id(tensor) -> global poolings on every way to the image
        self.names: dict[int, str] = {}
        for name, t in [*meta.named_parameters(), *meta.named_buffers()]:
            self.names.setdefault(id(t), name)

    # -- tags -------------------------------------------------------------------------------
    def tag(self, t: Tensor, ids: Tensor) -> None:
        self.tags[id(t)] = (t, ids)

    def ids(self, t: Tensor) -> Tensor | None:
        """Ids of an activation, or of a parameter used as one; None for a tensor we do not know."""
        if id(t) in self.tags:
            return self.tags[id(t)][1]
        if id(t) in self.names:
            return self._parameter_ids(t)
        return None

    def axis(self, t: Tensor, dim: int) -> list[int]:
        """Id vector of one axis of a parameter or buffer; made at first use."""
        axes = self.record.axes.setdefault(self.names[id(t)], {})
        if dim not in axes:
            axes[dim] = self.record.fresh(t.shape[dim])
        return axes[dim]

    def _parameter_ids(self, t: Tensor) -> Tensor:
        wide = [d for d, n in enumerate(t.shape) if n > 1]
        if len(wide) != 1:  # a scalar has no channel; a table of several axes has no rule
            return torch.full((1,) * t.dim(), FIXED if wide else NEUTRAL).expand(t.shape)
        shape = [1] * t.dim()
        shape[wide[0]] = -1
        return torch.tensor(self.axis(t, wide[0])).view(shape)

    # -- dispatch ---------------------------------------------------------------------------
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        inputs = _tensors([*args, *kwargs.values()])
        if not any(id(t) in self.tags or id(t) in self.names for t in inputs):
            return out
        outs = _tensors([out])
        if outs:
            self._apply(bare_name(func), args, kwargs, inputs, out, outs)
            self._count_pooling(bare_name(func), inputs, outs)
        return out

    def _count_pooling(self, name, inputs, outs):
        """One more where all positions become one, even at 1x1, where shapes do not show it."""
        if name.endswith("_as"):  # the second tensor only lends its shape
            inputs = inputs[:1]
        count = min((self.pooled.get(id(t), 0) for t in inputs if id(t) in self.tags), default=0)
        whole = name in POOL and prod(outs[0].shape[2:]) == 1
        if name in REDUCE and len(inputs) == 1 and inputs[0].dim() > 2:
            whole = bool((self.ids(outs[0]) > FIXED).any())  # not so for a mean over channels
        self.pooled.update((id(t), count + whole) for t in outs)

    def _apply(self, name, args, kwargs, inputs, out, outs):
        if name == "get":  # a property: .data, .T, .shape
            name = "detach" if outs[0].shape == inputs[0].shape else "get"
        try:
            if name in CONV or name in CONV_T:
                ok = self._conv(*_bind(args, kwargs, "input weight bias"), out, name in CONV_T)
            elif name == "linear":
                ok = self._linear(*_bind(args, kwargs, "input weight bias"), out)
            elif name in ("batch_norm", "instance_norm"):
                names = "input running_mean running_var weight bias"
                ok = self._norm(_bind(args, kwargs, names), 1, out)
            elif name == "group_norm":
                ok = self._group_norm(*_bind(args, kwargs, "input num_groups weight bias"), out)
            elif name == "layer_norm":
                x, shape, weight, bias = _bind(args, kwargs, "input normalized_shape weight bias")
                ok = len(shape) == 1 and self._norm([x, weight, bias], x.dim() - 1, out)
            elif name == "prelu":
                x, weight = _bind(args, kwargs, "input weight")
                ok = self._norm([x, weight] if weight.numel() > 1 else [x], 1, out)
            elif name in UNARY:
                ok = self._copy(inputs, out)
            elif name in BINARY:
                ok = self._elementwise(name, inputs, out)
            elif name in SPATIAL:
                ok = self._spatial(inputs[0], outs)
            elif name == "pad":
                ok = self._pad(inputs[0], *_bind(args, kwargs, "input pad mode value")[1:], out)
            elif name in REDUCE:
                ok = self._reduce(inputs, _bind(args, kwargs, "input dim")[1], outs)
            elif name in VIEW:
                ok = self._view(name, args, kwargs, inputs, out)
            else:
                ok = False
        except (RuntimeError, IndexError, TypeError, ValueError, KeyError):
            ok = False  # an unusual call of a known operation: freeze rather than guess
        if not ok:
            self._no_rule(name, inputs, outs)

    def _no_rule(self, name, inputs, outs):
        for t in inputs:
            if (ids := self.tags.get(id(t))) is not None:
                self.record.freeze(_unique(ids[1]), f"goes through '{name}', which has no rule")
        for t in outs:
            self.tag(t, torch.full((1,) * t.dim(), FIXED).expand(t.shape))
        if name in CONV or name == "linear":  # its weight is computed, so all its sizes stay
            weight, out = inputs[1], outs[0]
            macs = weight[0].numel() * out.numel() // out.shape[0]
            self.record.ops.append(Op(layer=f"{name} {tuple(weight.shape)}", coefficient=macs))

    # -- layers with weights ----------------------------------------------------------------
    def _channels(self, t: Tensor, dim: int) -> list[int] | None:
        """Ids along ``dim`` if they are the same everywhere else, otherwise None."""
        ids = _squeeze_expanded(self.ids(t), keep=dim % t.dim())
        ids = ids.movedim(dim % t.dim(), 0).reshape(t.shape[dim], -1)  # (channels, rest)
        return ids[:, 0].tolist() if bool((ids == ids[:, :1]).all()) else None

    def _conv(self, x, weight, bias, out, transposed) -> bool:
        if id(x) not in self.tags or id(weight) not in self.names or x.dim() != weight.dim():
            return False
        came = self._channels(x, 1)
        if came is None:
            return False
        record, layer = self.record, self._layer(weight)
        groups = out.shape[1] // weight.shape[1] if transposed else x.shape[1] // weight.shape[1]
        block_in, block_out = x.shape[1] // groups, out.shape[1] // groups
        made = self.axis(weight, 1 if transposed and groups == 1 else 0)
        if groups == 1:
            record.union(self.axis(weight, 0 if transposed else 1), came)
            record.makers.setdefault(self.names[id(weight)], (layer, made))
        elif transposed:
            return False
        elif block_in == 1:  # depthwise: each channel makes block_out channels of its own
            record.union(made, [i for i in came for _ in range(block_out)])
        elif block_in == block_out:  # blockwise: blocks are kept or dropped whole
            record.union(made, came)
            record.blocks[layer] = (block_in, made)
        else:
            record.freeze(
                [*came, *made],
                f"conv '{layer}' groups={groups}, {x.shape[1]} -> {out.shape[1]} is not supported: "
                "only depthwise or equal in/out grouped convolutions can change width",
            )
        if bias is not None:
            record.union(self.axis(bias, 0), made)
        moving = x if transposed else out  # the side whose positions the kernel visits
        positions = prod(weight.shape[2:]) * prod(moving.shape[2:])
        self._finish(layer, weight, came, made, out, 1, positions)
        return True

    def _linear(self, x, weight, bias, out) -> bool:
        if id(x) not in self.tags or id(weight) not in self.names:
            return False
        came = self._channels(x, -1)
        if came is None:
            return False
        self.record.union(self.axis(weight, 1), came)
        made = self.axis(weight, 0)
        layer = self._layer(weight)
        self.record.makers.setdefault(self.names[id(weight)], (layer, made))
        if bias is not None:
            self.record.union(self.axis(bias, 0), made)
        positions = out.numel() // (out.shape[0] * out.shape[-1])
        self._finish(layer, weight, came, made, out, out.dim() - 1, positions)
        return True

    def _finish(self, layer, weight, came, made, out, dim, coefficient):
        """Note one weighted layer: who meets whom (for gates), its MACs, and the ids it made."""
        self.record.uses.append(Use(layer, came, made))
        name = self.names[id(weight)]
        self.record.ops.append(Op(layer=layer, weight=name, coefficient=coefficient))
        shape = [1] * out.dim()
        shape[dim] = -1
        self.tag(out, torch.tensor(made).view(shape).expand(out.shape))

    def _layer(self, weight) -> str:
        return self.names[id(weight)].rpartition(".")[0]

    def _norm(self, tensors, dim, out) -> bool:
        x, *vectors = tensors
        channels = self._channels(x, dim)
        if channels is None:
            return False
        for v in vectors:
            if isinstance(v, Tensor):
                if id(v) not in self.names:
                    return False
                self.record.union(self.axis(v, 0), channels)
        self.tag(out, self.ids(x))
        return True

    def _group_norm(self, x, num_groups, weight, bias, out) -> bool:
        if not self._norm([x, weight, bias], 1, out):
            return False
        if num_groups > 1:  # every normalisation group must keep the same number of channels
            layer = "a group_norm without weights" if weight is None else self._layer(weight)
            self.record.blocks[layer] = (num_groups, self._channels(x, 1))
        return True

    # -- everything else --------------------------------------------------------------------
    def _copy(self, inputs, out) -> bool:
        source = next(t for t in inputs if self.ids(t) is not None)
        if not isinstance(out, Tensor) or out.shape != source.shape:
            return False
        self.tag(out, self.ids(source))
        return True

    def _elementwise(self, name, inputs, out) -> bool:
        known = [t for t in inputs if self.ids(t) is not None]
        for t in inputs:  # a constant tensor with a channel axis of its own has no name to resize
            if self.ids(t) is None and t.numel() > 1 and t.dim() > 1 and t.shape[1] > 1:
                return False
        if name == "mul" and len(known) == 2 and all(id(t) in self.tags for t in known):
            self._gate(*known)
        result = self.ids(known[0]).expand(torch.broadcast_shapes(known[0].shape, out.shape))
        for t in known[1:]:
            a, b = torch.broadcast_tensors(result, self.ids(t))
            result = self._meet(a, b)
        self.tag(out, result.expand(out.shape))
        return True

    def _gate(self, a: Tensor, b: Tensor) -> None:
        """Note the factor that passed through more global poolings, else the smaller one."""
        rank = {id(t): (-self.pooled.get(id(t), 0), t.numel()) for t in (a, b)}
        gate, gated = sorted((a, b), key=lambda t: rank[id(t)])
        images = gate.dim() == gated.dim() > 2 and gate.shape[1] == gated.shape[1]
        if images and rank[id(gate)] < rank[id(gated)]:
            own = _unique(self.ids(gated))  # without a layer on its way, a gate has the same ids
            self.record.gates.update({i for i in _unique(self.ids(gate)) if i > 0}.difference(own))

    def _meet(self, a: Tensor, b: Tensor) -> Tensor:
        """Merge the ids of two broadcast tensors; one channel spread over many is only frozen."""
        a0, b0 = _squeeze_pair(a, b)
        pairs = torch.stack([a0.reshape(-1), b0.reshape(-1)])  # (2, n)
        left, right = torch.unique(pairs, dim=1).tolist()
        one = _spread(left, right)
        if one is not None:
            self.record.freeze([one], "is one channel broadcast over many")
            return b if one in left else a
        self.record.union(left, right)
        return torch.where(a == NEUTRAL, b, a) if NEUTRAL in left else a

    def _spatial(self, x, outs) -> bool:
        ids = self.ids(x)
        for d in range(2, x.dim()):
            if not bool((ids == ids.narrow(d, 0, 1)).all()):
                return False
        for out in outs:
            first = ids[(slice(None), slice(None), *[slice(0, 1)] * (x.dim() - 2))]
            self.tag(out, first.expand(out.shape))
        return True

    def _pad(self, x, pad, mode, value, out) -> bool:
        ids = self.ids(x)
        for k in range(len(pad) // 2):
            d = x.dim() - 1 - k
            if bool((ids == ids.narrow(d, 0, 1)).all()):
                shape = list(ids.shape)
                shape[d] = out.shape[d]
                ids = ids.narrow(d, 0, 1).expand(shape)
            else:  # channels are padded: the new ones are constants and stay
                here = [0] * (2 * k) + list(pad[2 * k : 2 * k + 2])
                ids = nn.functional.pad(ids.contiguous(), here, value=FIXED)
        self.tag(out, ids)
        return True

    def _reduce(self, inputs, dims, outs) -> bool:
        x = inputs[0]
        if len(inputs) > 1:  # torch.max(a, b)
            return self._elementwise("maximum", inputs, outs[0])
        ids, keepdim = self.ids(x), outs[0].dim() == x.dim()
        dims = range(x.dim()) if dims is None else [dims] if isinstance(dims, int) else dims
        lost = sorted({d % x.dim() for d in dims}, reverse=True)
        if any(not bool((ids == ids.narrow(d, 0, 1)).all()) for d in lost):
            ids = torch.full_like(ids, NEUTRAL)  # a mean over channels belongs to none of them
        for d in lost:
            ids = ids.narrow(d, 0, 1) if keepdim else ids.select(d, 0)
        for t in outs:
            self.tag(t, ids)
        return True

    def _view(self, name, args, kwargs, inputs, out) -> bool:
        joins = name in ("cat", "concat", "concatenate", "stack")
        if not joins and any(self.ids(t) is None for t in inputs):
            return False  # an index tensor, say
        func = getattr(torch if joins else Tensor, ID_VIEW.get(name, name), None)
        func = func or getattr(nn.functional, name)
        swap = {}
        for t in inputs:  # in a join, tensors made inside forward() are constants
            ids = self.ids(t)
            ids = torch.full((1,) * t.dim(), FIXED) if ids is None else ids
            swap[id(t)] = ids.expand(t.shape)
        result = func(*_replace(args, swap), **_replace(kwargs, swap))
        for t, ids in zip(_tensors([out]), _tensors([result]), strict=True):
            self.tag(t, ids)
        return True


# -- small helpers --------------------------------------------------------------------------
def _tensors(tree) -> list[Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, Tensor)]


def _replace(tree, swap):
    return tree_map(lambda t: swap.get(id(t), t) if isinstance(t, Tensor) else t, tree)


def _bind(args, kwargs, names: str) -> list:
    """Positional and keyword arguments in the order of ``names``; None where absent."""
    names = names.split()
    return [args[i] if i < len(args) else kwargs.get(n) for i, n in enumerate(names)]


def _squeeze_expanded(ids: Tensor, keep: int) -> Tensor:
    for d in range(ids.dim()):
        if d != keep and ids.stride(d) == 0:
            ids = ids.narrow(d, 0, 1)
    return ids


def _squeeze_pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    for d in range(a.dim()):
        if a.stride(d) == 0 and b.stride(d) == 0:
            a, b = a.narrow(d, 0, 1), b.narrow(d, 0, 1)
    return a, b


def _spread(left: list[int], right: list[int]) -> int | None:
    """The id of a channel that meets several others while it is alone on its side."""
    a, b = set(left) - {NEUTRAL}, set(right) - {NEUTRAL}
    for one, many in ((a, b), (b, a)):
        if len(one) == 1 and len(many) > 1 and FIXED not in one:
            return next(iter(one))
    return None


def _unique(ids: Tensor) -> list[int]:
    return torch.unique(_squeeze_expanded(ids, keep=-1)).tolist()
