"""Gradient compression for torch.distributed: hooks for DistributedDataParallel, and optimisers of their own.

    state = laconic.torch.DgcState(model, optimizer, fraction=0.001)
    model.register_comm_hook(state, laconic.torch.dgc_hook)

The engine talks over a gloo group of its own, whatever the default group is.
"""

from .carrier import ProcessGroupCarrier
from .hooks import (DgcState, EfSignState, EfTopkState, ExchangeState, LGrecoState, PowerSgdState, dgc_hook,
                    ef_sign_hook, ef_topk_hook, exchange_hook, l_greco_hook, powersgd_hook)
from .onebit_adam import OneBitAdam

__all__ = ["DgcState", "EfSignState", "EfTopkState", "ExchangeState", "LGrecoState", "OneBitAdam",
           "PowerSgdState", "ProcessGroupCarrier", "dgc_hook", "ef_sign_hook", "ef_topk_hook", "exchange_hook",
           "l_greco_hook", "powersgd_hook"]
