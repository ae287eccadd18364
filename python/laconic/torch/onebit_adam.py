"""1-bit Adam (Tang et al. 2021, arXiv 2102.02888): an optimiser that owns its exchange."""

import torch
import torch.distributed as distributed

import laconic

from .carrier import ProcessGroupCarrier
from .hooks import _texts


class OneBitAdam(torch.optim.Optimizer):
    """Adam whose variance is frozen after a warm-up; from there on ranks exchange the momentum's signs.

    Gradients are this rank's own: the model is not wrapped in DistributedDataParallel. Parameters are made equal
    to rank 0's at the beginning and stay equal to the bit. A step with a gradient that is not finite, on any
    rank, is refused by all and changes nothing; `refused_steps` counts them.

    `parameters` are those of the method onebit-adam (laconic.methods()): when the warm-up ends, and more.
    Weight decay is decoupled and moves tensors of two or more dimensions.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, *, bias_correction=True,
                 parameters=None, process_group=None, timeout=300.0, seed=0, steps=0, bucket_bytes=25_000_000):
        super().__init__(params, {"lr": lr})
        if len(self.param_groups) != 1:
            raise ValueError("one group of parameters: they are exchanged, and move, as one vector")
        self._parameters = [parameter for parameter in self.param_groups[0]["params"] if parameter.requires_grad]
        for parameter in self._parameters:
            if parameter.is_cuda or parameter.dtype != torch.float32:
                raise ValueError("OneBitAdam keeps its state beside float32 parameters in the host's memory")
        chosen = _texts(parameters)
        if steps == 0 and "freeze_step" not in chosen and chosen.get("freeze") != "ratio":
            raise ValueError("say when the warm-up ends: parameters={'freeze_step': N}, or {'freeze': 'ratio'}, or the "
                             "run's steps, of which it is a fifth")
        carrier = ProcessGroupCarrier(process_group, timeout)
        shapes = [(f"parameter {i}", tuple(parameter.shape)) for i, parameter in enumerate(self._parameters)]
        self._exchange = laconic.Exchange(
            "onebit-adam", shapes, carrier, carrier.rank, carrier.size, parameters=chosen,
            optimizer="adam", beta1=betas[0], beta2=betas[1], epsilon=eps, bias_correction=bias_correction,
            weight_decay=weight_decay, seed=seed, steps=steps, bucket_bytes=bucket_bytes)
        self._carrier = carrier
        self._vector = torch.from_numpy(self._exchange.vector)
        self._flat = torch.empty_like(self._vector)  # the parameters, while they move
        self.steps_taken = 0
        self.refused_steps = 0
        with torch.no_grad():
            for parameter in self._parameters:
                distributed.broadcast(parameter, carrier._peers[0], group=carrier.group)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter in self._parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                raise ValueError("sparse gradients cannot be represented by signs")
        try:
            accepted = self._exchanged()
        except BaseException:
            self._exchange.close()  # the other ranks learn of it now, not when they have waited long enough
            raise
        self.steps_taken += 1
        if not accepted:
            self.refused_steps += 1
            return loss
        flat = self._views(self._flat)
        for view, parameter in zip(flat, self._parameters):
            view.copy_(parameter)
        self._exchange.apply(self._flat.numpy(), float(self.param_groups[0]["lr"]))
        for view, parameter in zip(flat, self._parameters):
            parameter.copy_(view)
        return loss

    def _exchanged(self):
        self._exchange.begin(self.steps_taken + 1)
        # From the last, as the engine's buckets are.
        for index, own in reversed(list(enumerate(self._views(self._vector)))):
            gradient = self._parameters[index].grad
            # A parameter that was not used still takes part: its ranks must agree on what travels.
            own.copy_(gradient) if gradient is not None else own.zero_()
            self._exchange.prepare(index)
            self._exchange.ready(index)
        return self._exchange.end()

    def traffic(self):
        """Bytes and messages of this rank so far, as the engine counted them."""
        return self._exchange.traffic()

    @property
    def text(self):
        return self._exchange.text

    def require_equal_replicas(self):
        """Raises on every rank unless all hold the same parameters, bit for bit."""
        for view, parameter in zip(self._views(self._flat), self._parameters):
            view.copy_(parameter.detach())
        self._exchange.require_equal(self._flat.numpy(), "the parameters")

    def state_dict(self):
        """Moments and errors of this rank: every rank saves, and loads, its own."""
        return {"param_groups": [{"lr": self.param_groups[0]["lr"]}], "steps_taken": self.steps_taken,
                "refused_steps": self.refused_steps, "rank": self._carrier.rank, "ranks": self._carrier.size,
                "exchange": self._exchange.save()}

    def load_state_dict(self, state):
        for key, value in (("rank", self._carrier.rank), ("ranks", self._carrier.size)):
            if state[key] != value:
                raise ValueError(f"the state is of {key} {state[key]}, not {value}: every rank loads its own")
        self._exchange.restore(state["exchange"])
        self.steps_taken, self.refused_steps = int(state["steps_taken"]), int(state["refused_steps"])
        self.param_groups[0]["lr"] = state["param_groups"][0]["lr"]

    def close(self):
        self._exchange.close()

    def _views(self, vector):
        views, begin = [], 0
        for parameter in self._parameters:
            views.append(vector[begin:begin + parameter.numel()].view(parameter.shape))
            begin += parameter.numel()
        return views
