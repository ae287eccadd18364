"""Communication hooks for DistributedDataParallel.

A hook only enqueues: a thread takes the gradients of each bucket into the engine's vector, where they are
compressed and sent while the backward pass goes on, and the futures are completed when the step has ended.

Memories belong to parameters, not to DDP's buckets, so that it does not matter how DDP forms its buckets,
forms them anew after the first step, or forms them after a restart.
"""

import collections
import math
import queue
import threading
import weakref

import torch

import laconic

from .carrier import ProcessGroupCarrier


_Bucket = collections.namedtuple("_Bucket", "buffer parameters gradients is_last future ready")


def _layout(module):
    module = getattr(module, "module", module)  # what DDP wraps
    ignored = getattr(module, "_ddp_params_and_buffers_to_ignore", ())
    named = [(name, parameter) for name, parameter in module.named_parameters()
             if parameter.requires_grad and name not in ignored]
    if not named:
        raise ValueError("the module has no parameter that is trained")
    return named


class ExchangeState:
    """A hook's state: the exchange that `exchange` names (see laconic.Exchange), for a module's parameters.

    Every rank makes one, with the same arguments; the engine compares them. `process_group`: gloo; None makes a
    group. A step in which some rank has a gradient that is not finite is refused by all: no memory changes,
    and all gradients become NaN, which GradScaler, or a look at the gradient norm, takes as the sign to skip
    the step.
    """

    def __init__(self, module, exchange, *, process_group=None, timeout=300.0, **options):
        self._named = _layout(module)
        self._index = {parameter: index for index, (_, parameter) in enumerate(self._named)}
        shapes = [(name, tuple(parameter.shape)) for name, parameter in self._named]
        self._carrier = ProcessGroupCarrier(process_group, timeout)
        self._exchange = laconic.Exchange(exchange, shapes, self._carrier, self._carrier.rank, self._carrier.size,
                                          **options)
        self._vector = torch.from_numpy(self._exchange.vector)
        self._slices = []
        begin = 0
        for _, parameter in self._named:
            self._slices.append(self._vector[begin:begin + parameter.numel()].view(parameter.shape))
            begin += parameter.numel()
        self.step = 0
        self.refused_steps = 0
        self._step_open = threading.Event()  # from the first bucket of a step to its end
        self._waits_for_all = False  # nothing leaves before the whole gradient is there
        self._failure = None
        self._queue = queue.SimpleQueue()
        self._thread = threading.Thread(target=_serve, args=(weakref.ref(self), self._queue), daemon=True)
        self._thread.start()
        weakref.finalize(self, self._queue.put, None)

    # What a run reports.

    def traffic(self):
        """Bytes and messages of this rank so far, as the engine counted them."""
        return self._exchange.traffic()

    def seconds(self):
        """Of encoding, decoding and exposed waiting so far."""
        return self._exchange.seconds()

    @property
    def text(self):
        """Everything that decides the numbers."""
        return self._exchange.text

    # Between steps: state of this rank, for torch.save beside the model and the optimizer. Every rank has its
    # own.

    def state_dict(self):
        self._require_idle()
        return {"step": self.step, "refused_steps": self.refused_steps, "rank": self._carrier.rank,
                "ranks": self._carrier.size, "parameters": [name for name, _ in self._named],
                "exchange": self._exchange.save()}

    def load_state_dict(self, state):
        self._require_idle()
        expected = {"rank": self._carrier.rank, "ranks": self._carrier.size,
                    "parameters": [name for name, _ in self._named]}
        for key, value in expected.items():
            if state[key] != value:
                raise ValueError(f"the state is of {key} {state[key]!r}, not {value!r}: every rank loads its own")
        self._exchange.restore(state["exchange"])
        self.step, self.refused_steps = int(state["step"]), int(state["refused_steps"])

    def close(self):
        """Ends the threads. The hook cannot be used afterwards."""
        self._failure = self._failure or RuntimeError("the state is closed")
        self._queue.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._exchange.close()

    def _require_idle(self):
        if self._step_open.is_set():
            raise RuntimeError("a backward pass goes on: states are saved and loaded between steps")

    def _enqueue(self, bucket):
        if self._failure is not None:
            raise self._failure
        self._step_open.set()
        buffer = bucket.buffer()
        ready = None
        if buffer.is_cuda:
            ready = torch.cuda.Event()
            ready.record()
        devices = [buffer.device] if buffer.is_cuda else None
        inner = torch.futures.Future(devices=devices) if devices else torch.futures.Future()
        # `then`, because DDP sees a failure only in a future that a callback completed.
        outer = inner.then(lambda done: done.value())
        self._queue.put(_Bucket(buffer, bucket.parameters(), bucket.gradients(), bucket.is_last(), inner, ready))
        return outer

    # On the thread, below.

    def _take(self, bucket, held):
        """Takes a bucket in, and ends the step behind its last one."""
        if self._failure is not None:
            raise self._failure
        if len(held) == 1:
            self._missing = set(range(len(self._named)))
            self._exchange.begin(self.step + 1)
        if bucket.ready is not None:
            bucket.ready.synchronize()
        for parameter, gradient in zip(bucket.parameters, bucket.gradients):
            index = self._index.get(parameter)
            if index is None:
                raise ValueError("DDP brings a parameter that the module did not have when the state was made")
            self._slices[index].copy_(gradient.view(parameter.shape))
            self._missing.remove(index)
            if not self._waits_for_all:
                self._exchange.ready(index)
        if not bucket.is_last:
            return
        if self._missing:
            names = [self._named[index][0] for index in sorted(self._missing)]
            raise ValueError(f"DDP does not bring the gradients of {', '.join(names)}: make the state of the module "
                             "that DDP wraps, after freezing what is not trained")
        if self._waits_for_all:
            self._own()
        accepted = self._exchange.end()
        self.step += 1
        self.refused_steps += not accepted
        if accepted:
            self._agreed()
        for bucket in held:
            for parameter, gradient in zip(bucket.parameters, bucket.gradients):
                if accepted:
                    gradient.view(parameter.shape).copy_(self._slices[self._index[parameter]])
                else:
                    gradient.fill_(float("nan"))
            if bucket.buffer.is_cuda:
                torch.cuda.synchronize(bucket.buffer.device)
        self._step_open.clear()
        done = list(held)
        held.clear()
        for bucket in done:
            bucket.future.set_result(bucket.buffer)

    def _own(self):
        """For subclasses that wait for it: this rank's whole gradient is there."""

    def _agreed(self):
        """For subclasses: the agreed vector is there."""

    def _fail(self, failure, held):
        self._failure = failure
        self._exchange.close()  # the other ranks learn of it now, not when they have waited long enough
        self._step_open.clear()
        for bucket in held:
            bucket.future.set_exception(failure)
        held.clear()


def _serve(reference, work_queue):
    """The thread of a state, which it does not keep alive."""
    held = []  # buckets of the step that goes on
    while True:
        bucket = work_queue.get()
        state = reference()
        if bucket is None or state is None:
            return
        held.append(bucket)
        try:
            state._take(bucket, held)
        except BaseException as failure:  # a future must learn of whatever it was
            state._fail(failure, held)
        del state, bucket


class EfTopkState(ExchangeState):
    """The `fraction` of each tensor's numbers that are largest, with error feedback."""

    def __init__(self, module, fraction=0.01, parameters=None, **options):
        super().__init__(module, "ef-topk", parameters=_texts(parameters, fraction=fraction), **options)


class EfSignState(ExchangeState):
    """One bit a number and one scale, errors kept by senders and by the owners of each part."""

    def __init__(self, module, parameters=None, **options):
        super().__init__(module, "ef-sign", parameters=_texts(parameters), **options)


class PowerSgdState(ExchangeState):
    """PowerSGD: gradients as products of two thin matrices of rank `rank`, with error feedback."""

    def __init__(self, module, rank=4, parameters=None, **options):
        super().__init__(module, "powersgd", parameters=_texts(parameters, rank=rank), **options)


class LGrecoState(ExchangeState):
    """L-GreCo: a rank ("lowrank"), a number of bits ("quantise") or a density ("sparse") for each layer, planned
    anew every `period` steps. Where it begins, and from what, is among the method's parameters."""

    def __init__(self, module, family="lowrank", period=500, parameters=None, **options):
        super().__init__(module, "l-greco", parameters=_texts(parameters, family=family, period=period), **options)


class DgcState(ExchangeState):
    """Deep Gradient Compression: the `ratio` of each tensor's numbers that are largest, the rest accumulates with
    its momentum. Momentum is applied here, before numbers are chosen, so the optimizer is plain SGD, and one
    with momentum is refused.

    `steps_per_epoch` (an option) and warmup_epochs (of `parameters`) set how fast the share falls to `ratio`.
    `clip`: largest norm of the gradient; each rank clips its own at its share of it, before it accumulates, which
    takes the whole gradient: nothing then overlaps with the backward pass.
    """

    def __init__(self, module, optimizer, ratio=0.001, momentum=0.9, nesterov=False, clip=None, parameters=None,
                 **options):
        _require_plain_sgd(optimizer)
        super().__init__(module, "dgc", parameters=_texts(parameters, ratio=ratio), momentum=momentum,
                         nesterov=nesterov, **options)
        self._waits_for_all = clip is not None
        self._own_norm = None if clip is None else clip / math.sqrt(self._carrier.size)
        self._moved = torch.empty_like(self._vector)

    def _own(self):
        norm = float(torch.linalg.vector_norm(self._vector, dtype=torch.float64))
        if norm > self._own_norm:
            self._vector.mul_(self._own_norm / (norm + 1e-6))

    def _agreed(self):
        # Vectors, which travelled whole, get their momentum here: what moves parameters at 0 by rate 1.
        self._exchange.apply(self._moved.zero_().numpy(), 1.0)
        torch.neg(self._moved, out=self._vector)


def _texts(parameters, **more):
    """A method's parameters as the engine reads them."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in {**more, **(parameters or {})}.items()}


def _require_plain_sgd(optimizer):
    if not isinstance(optimizer, torch.optim.SGD):
        raise ValueError(f"dgc goes with torch.optim.SGD; {type(optimizer).__name__} keeps moments of gradients "
                         "that were summed over many steps")
    for group in optimizer.param_groups:
        if group.get("momentum", 0) != 0 or group.get("nesterov", False):
            raise ValueError(f"dgc has the momentum inside: give the optimizer momentum=0, not "
                             f"{group['momentum']}, and momentum={group['momentum']} to DgcState")


def _hook_of(kind, state, bucket):
    if not isinstance(state, kind):
        raise TypeError(f"this hook goes with a {kind.__name__}, not with a {type(state).__name__}")
    return state._enqueue(bucket)


def exchange_hook(state, bucket):
    """For any state of this module."""
    return _hook_of(ExchangeState, state, bucket)


def ef_topk_hook(state, bucket):
    return _hook_of(EfTopkState, state, bucket)


def ef_sign_hook(state, bucket):
    return _hook_of(EfSignState, state, bucket)


def powersgd_hook(state, bucket):
    return _hook_of(PowerSgdState, state, bucket)


def l_greco_hook(state, bucket):
    return _hook_of(LGrecoState, state, bucket)


def dgc_hook(state, bucket):
    return _hook_of(DgcState, state, bucket)
