"""Trains a small network on several processes with compressed gradients. On one machine:

    PYTHONPATH=build/release/python torchrun -r 1 -t 1 --nproc_per_node 4 python/examples/train_ddp.py dgc
    RANK=0 WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=29500 python3 python/examples/train_ddp.py ef-topk &
    RANK=1 WORLD_SIZE=2 ...
"""
import sys

import torch
import torch.distributed as distributed
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import laconic.torch as compressed

method = sys.argv[1] if len(sys.argv) > 1 else "dgc"
steps = int(sys.argv[2]) if len(sys.argv) > 2 else 200
distributed.init_process_group("gloo")  # RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say who is who
rank = distributed.get_rank()
torch.set_num_threads(1)
torch.manual_seed(1)  # the same network and the same task everywhere
network = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
teacher = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
torch.manual_seed(1000 + rank)  # but examples of its own on every rank

if method == "onebit-adam":
    model = network
    optimizer = state = compressed.OneBitAdam(model.parameters(), lr=2e-3, parameters={"freeze_step": steps // 5})
else:
    model = DistributedDataParallel(network)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0 if method == "dgc" else 0.9)
    state, hook = {
        "dgc": lambda: (compressed.DgcState(model, optimizer, ratio=0.01, steps_per_epoch=20), compressed.dgc_hook),
        "ef-topk": lambda: (compressed.EfTopkState(model, fraction=0.01), compressed.ef_topk_hook),
        "ef-sign": lambda: (compressed.EfSignState(model), compressed.ef_sign_hook),
        "powersgd": lambda: (compressed.PowerSgdState(model, rank=4), compressed.powersgd_hook),
        "l-greco": lambda: (compressed.LGrecoState(model, period=50), compressed.l_greco_hook),
        "dense": lambda: (compressed.ExchangeState(model, "dense"), compressed.exchange_hook),
    }[method]()
    model.register_comm_hook(state, hook)

for step in range(1, steps + 1):
    examples = torch.randn(64, 64)
    loss = cross_entropy(model(examples), teacher(examples).argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if rank == 0 and step % 50 == 0:
        print(f"step {step}  loss {loss.item():.4f}  sent {state.traffic()['sent_bytes']} bytes", flush=True)
state.close()
distributed.destroy_process_group()
