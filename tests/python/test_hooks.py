import copy
import os
import socket
import subprocess
import sys
import time
import unittest

import laconic
from support import needs_torch, on_processes, torch

if torch is not None:
    import laconic.torch as compressed
    from torch.nn.parallel import DistributedDataParallel

KINDS = {
    "dense": lambda model, optimizer: (compressed.ExchangeState(model, "dense"), compressed.exchange_hook),
    "dgc": lambda model, optimizer: (compressed.DgcState(model, optimizer, ratio=0.05, steps_per_epoch=5),
                                     compressed.dgc_hook),
    "ef-topk": lambda model, optimizer: (compressed.EfTopkState(model, fraction=0.05, bucket_bytes=2000),
                                         compressed.ef_topk_hook),
    "ef-sign": lambda model, optimizer: (compressed.EfSignState(model), compressed.ef_sign_hook),
    "powersgd": lambda model, optimizer: (compressed.PowerSgdState(model, rank=2), compressed.powersgd_hook),
    "l-greco": lambda model, optimizer: (compressed.LGrecoState(model, period=10), compressed.l_greco_hook),
}

SLUGS = {row["slug"] for row in laconic.methods() if row["exchange"]}
KINDS = {kind: make for kind, make in KINDS.items() if kind in SLUGS}


def network(seed=1):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))


def examples_of(rank, step, teacher):
    random = torch.Generator().manual_seed(1000 * rank + step)
    inputs = torch.randn(32, 32, generator=random)
    return inputs, teacher(inputs).argmax(1)


def held_out_loss(model):
    with torch.no_grad():
        inputs, labels = examples_of(99, 1, network(seed=2))
        return float(torch.nn.functional.cross_entropy(model(inputs), labels))


def train(rank, model, optimizer, first, last):
    teacher = network(seed=2)
    for step in range(first, last + 1):
        inputs, labels = examples_of(rank, step, teacher)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()


def flat(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def wrapped(bucket_mb=0.004):
    # Several buckets, which DDP forms anew after the first step.
    return DistributedDataParallel(network(), bucket_cap_mb=bucket_mb)


def sgd(model, kind):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.0 if kind == "dgc" else 0.9)


def train_with_every_hook(rank):
    rows = {"start": held_out_loss(network())}
    for kind in ("ddp", *KINDS):
        model = wrapped()
        optimizer = sgd(model, kind)
        traffic = None
        if kind != "ddp":
            state, hook = KINDS[kind](model, optimizer)
            model.register_comm_hook(state, hook)
        train(rank, model, optimizer, 1, 60)
        if kind != "ddp":
            traffic = state.traffic()["sent_bytes"]
            assert state.step == 60 and state.refused_steps == 0
            state.close()
        rows[kind] = (held_out_loss(model), traffic, flat(model))
    return rows


def resume(rank, kind):
    model = wrapped()
    optimizer = sgd(model, kind)
    state, hook = KINDS[kind](model, optimizer)
    model.register_comm_hook(state, hook)
    train(rank, model, optimizer, 1, 8)
    kept = copy.deepcopy([model.module.state_dict(), optimizer.state_dict(), state.state_dict()])
    train(rank, model, optimizer, 9, 14)
    state.close()

    again = wrapped(bucket_mb=1)  # other buckets: memories belong to parameters
    optimizer = sgd(again, kind)
    again.module.load_state_dict(kept[0])
    optimizer.load_state_dict(kept[1])
    other, hook = KINDS[kind](again, optimizer)
    other.load_state_dict(kept[2])
    again.register_comm_hook(other, hook)
    train(rank, again, optimizer, 9, 14)
    try:
        other.load_state_dict({**kept[2], "rank": 1 - rank})
        raise AssertionError("a state of another rank was taken")
    except ValueError as error:
        assert "every rank loads its own" in str(error)
    other.close()
    return torch.equal(flat(model), flat(again))


def refuse_a_step(rank):
    model = wrapped()
    optimizer = sgd(model, "ef-topk")
    state, hook = KINDS["ef-topk"](model, optimizer)
    model.register_comm_hook(state, hook)
    train(rank, model, optimizer, 1, 2)
    before = state.state_dict()["exchange"]
    inputs, labels = examples_of(rank, 3, network(seed=2))
    if rank == 1:
        inputs[0, 0] = float("inf")
    torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    bad = all(bool(parameter.grad.isnan().all()) for parameter in model.parameters())
    unchanged = state.state_dict()["exchange"] == before
    train(rank, model, optimizer, 4, 5)  # zero_grad, then as before
    state.close()
    return bad, unchanged, state.refused_steps, bool(flat(model).isfinite().all())


def break_down(rank):
    model = wrapped()
    optimizer = sgd(model, "ef-topk")
    state, hook = KINDS["ef-topk"](model, optimizer)
    model.register_comm_hook(state, hook)
    train(rank, model, optimizer, 1, 1)
    if rank == 1:
        state._carrier.receive_length = lambda source, tag: 1 / 0
    try:
        train(rank, model, optimizer, 2, 3)  # rank 0 may have had what it needs of step 2
    except RuntimeError as error:
        return str(error)
    return "no error"


def enqueue_only(rank):
    model = wrapped()
    state = compressed.EfTopkState(model, fraction=0.05)
    seconds = []

    def timed_hook(state, bucket):
        begin = time.perf_counter()
        future = compressed.ef_topk_hook(state, bucket)
        seconds.append(time.perf_counter() - begin)
        return future

    model.register_comm_hook(state, timed_hook)
    inputs, labels = examples_of(rank, 1, network(seed=2))
    loss = torch.nn.functional.cross_entropy(model(inputs), labels)
    torch.distributed.barrier()
    if rank == 1:
        time.sleep(2)  # the other rank waits for this one: in backward, not in its hooks
    begin = time.perf_counter()
    loss.backward()
    whole = time.perf_counter() - begin
    state.close()
    return sum(seconds), len(seconds), whole


def clip_before_accumulation(rank):
    model = wrapped()
    optimizer = sgd(model, "dgc")
    state = compressed.DgcState(model, optimizer, ratio=1.0, clip=0.01, parameters={"warmup_epochs": 0})
    model.register_comm_hook(state, compressed.dgc_hook)
    inputs, labels = examples_of(rank, 1, network(seed=2))
    torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    state.close()
    return float(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm())


def dgc_of_everything(rank):
    # With every number sent and nothing forgotten it is SGD with momentum (card 07).
    models = [wrapped(), wrapped()]
    optimizers = [torch.optim.SGD(models[0].parameters(), lr=0.05, momentum=0.9), sgd(models[1], "dgc")]
    state = compressed.DgcState(models[1], optimizers[1], ratio=1.0, momentum=0.9,
                                parameters={"warmup_epochs": 0, "masking": False, "select": "exact"})
    models[1].register_comm_hook(state, compressed.dgc_hook)
    for model, optimizer in zip(models, optimizers):
        train(rank, model, optimizer, 1, 10)
    state.close()
    return flat(models[0]), flat(models[1])


def accumulate_and_freeze(rank):
    model = network()
    model[0].bias.requires_grad_(False)
    model.spare = torch.nn.Identity()  # in no forward pass:
    model.spare.weight = torch.nn.Parameter(torch.ones(3, 3))
    model = DistributedDataParallel(model, find_unused_parameters=True)
    state = compressed.EfTopkState(model, fraction=0.1)
    model.register_comm_hook(state, compressed.ef_topk_hook)
    optimizer = sgd(model, "ef-topk")
    teacher = network(seed=2)
    for step in range(3):
        optimizer.zero_grad()
        with model.no_sync():
            inputs, labels = examples_of(rank, 2 * step, teacher)
            torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        inputs, labels = examples_of(rank, 2 * step + 1, teacher)
        torch.nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    state.close()
    return flat(model), state.step


@needs_torch
class Hooks(unittest.TestCase):
    def test_every_hook_trains_like_dense_with_fewer_bytes_and_the_same_bits_on_all_ranks(self):
        first, second = on_processes(2, train_with_every_hook)
        dense_loss, dense_bytes = first["ddp"][0], first["dense"][1]
        self.assertLess(dense_loss, 0.6 * first["start"])
        for kind in KINDS:
            with self.subTest(kind):
                loss, sent, parameters = first[kind]
                self.assertTrue(torch.equal(parameters, second[kind][2]))
                self.assertLess(loss, dense_loss + 0.25 * (first["start"] - dense_loss), kind)
                if kind == "dense":
                    torch.testing.assert_close(parameters, first["ddp"][2], rtol=1e-3, atol=1e-4)
                else:
                    self.assertLess(sent, 0.6 * dense_bytes)

    def test_a_saved_state_goes_on_bit_for_bit_whatever_the_buckets(self):
        for kind in KINDS:
            with self.subTest(kind):
                self.assertEqual(on_processes(2, resume, kind), [True, True])

    def test_a_refused_step_makes_gradients_nan_and_changes_no_memory(self):
        self.assertEqual(on_processes(2, refuse_a_step), [(True, True, 1, True)] * 2)

    def test_failures_come_out_of_backward_on_every_rank(self):
        texts = on_processes(2, break_down)
        self.assertIn("division by zero", texts[1])
        self.assertNotEqual("no error", texts[0])

    def test_a_hook_only_enqueues(self):
        in_hooks, count, whole = on_processes(2, enqueue_only)[0]
        self.assertGreaterEqual(count, 1)
        self.assertGreater(whole, 1.0)
        self.assertLess(in_hooks, 0.5)

    @unittest.skipUnless("dgc" in SLUGS, "dgc is not in this build")
    def test_dgc_clips_each_rank_at_its_share(self):
        for norm in on_processes(2, clip_before_accumulation):
            self.assertLess(norm, 0.01 / 2 ** 0.5 * 1.001)  # the mean of two of that norm
            self.assertGreater(norm, 0.002)

    @unittest.skipUnless("dgc" in SLUGS, "dgc is not in this build")
    def test_dgc_that_sends_everything_and_forgets_nothing_is_momentum(self):
        for dense, sent in on_processes(2, dgc_of_everything):
            torch.testing.assert_close(sent, dense, rtol=1e-4, atol=1e-5)

    def test_accumulation_frozen_and_unused_parameters(self):
        first, second = on_processes(2, accumulate_and_freeze)
        self.assertTrue(torch.equal(first[0], second[0]))
        self.assertEqual(first[1], 3)

    def test_dgc_refuses_an_optimiser_with_momentum(self):
        model = network()
        with self.assertRaisesRegex(ValueError, "momentum=0, not 0.9"):
            compressed.DgcState(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
        with self.assertRaisesRegex(ValueError, "Adam"):
            compressed.DgcState(model, torch.optim.Adam(model.parameters()))

    def test_the_example_trains(self):
        example = os.path.join(os.environ["LACONIC_SOURCE_DIR"], "python/examples/train_ddp.py")
        for method in sorted(SLUGS & {"dgc", "onebit-adam"}):
            with self.subTest(method):
                losses = [float(line.split()[3]) for line in run_example(example, method).splitlines()]
                self.assertEqual(len(losses), 3)
                self.assertLess(losses[-1], losses[0])


def run_example(example, method):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [subprocess.Popen([sys.executable, example, method, "150"], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2",
                                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
             for rank in range(2)]
    out = [process.communicate(timeout=200)[0] for process in ranks]
    if any(process.returncode for process in ranks):
        raise AssertionError(f"the example failed: {out}")
    return out[0]


if __name__ == "__main__":
    unittest.main()
