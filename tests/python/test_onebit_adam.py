import copy
import unittest

from support import needs_torch, on_processes, torch
from test_hooks import examples_of, flat, held_out_loss, network, train

if torch is not None:
    import laconic.torch as compressed


def one_bit(model, freeze_step, **options):
    return compressed.OneBitAdam(model.parameters(), lr=5e-3, parameters={"freeze_step": freeze_step}, **options)


def warm_up_equals_adam(rank):
    # Ranks begin with different networks; rank 0's counts.
    model, reference = network(seed=1 + rank), network(seed=1)
    optimizer = one_bit(model, 1000)
    adam = torch.optim.Adam(reference.parameters(), lr=5e-3)
    teacher = network(seed=2)
    train(rank, model, optimizer, 1, 20)
    for step in range(1, 21):
        adam.zero_grad()
        for other in range(2):
            inputs, labels = examples_of(other, step, teacher)
            (torch.nn.functional.cross_entropy(reference(inputs), labels) / 2).backward()
        adam.step()
    optimizer.close()
    return flat(model), flat(reference)


def train_in_both_stages(rank):
    model, start = network(), held_out_loss(network())
    optimizer = one_bit(model, 20)
    train(rank, model, optimizer, 1, 20)
    dense = optimizer.traffic()["sent_bytes"]
    train(rank, model, optimizer, 21, 40)
    signs = optimizer.traffic()["sent_bytes"] - dense
    train(rank, model, optimizer, 41, 80)
    optimizer.require_equal_replicas()
    loss = held_out_loss(model)
    # A gradient that is not finite on one rank.
    kept = flat(model)
    inputs, labels = examples_of(rank, 81, network(seed=2))
    if rank == 0:
        inputs[0] = float("nan")
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    optimizer.step()
    unchanged = torch.equal(kept, flat(model)) and optimizer.refused_steps == 1
    # Goes on from its state, in the second stage.
    state = copy.deepcopy([model.state_dict(), optimizer.state_dict()])
    train(rank, model, optimizer, 82, 90)
    again = network()
    other = one_bit(again, 20)
    again.load_state_dict(state[0])
    other.load_state_dict(state[1])
    train(rank, again, other, 82, 90)
    same = torch.equal(flat(model), flat(again))
    optimizer.close(), other.close()
    return start, loss, dense, signs, unchanged, same


@needs_torch
class OneBitAdam(unittest.TestCase):
    def test_the_warm_up_is_adam_on_the_mean_gradient(self):
        for model, reference in on_processes(2, warm_up_equals_adam):
            torch.testing.assert_close(model, reference, rtol=1e-4, atol=1e-5)

    def test_signs_train_on_with_a_twentieth_of_the_bytes_and_state_moves(self):
        for start, loss, dense, signs, unchanged, same in on_processes(2, train_in_both_stages):
            self.assertLess(loss, 0.6 * start)
            self.assertLess(signs, dense / 20)
            self.assertTrue(unchanged)
            self.assertTrue(same)

    def test_what_it_cannot_do_is_refused(self):
        model = network()
        groups = [{"params": [parameter]} for parameter in model.parameters()]
        with self.assertRaisesRegex(ValueError, "one group"):
            compressed.OneBitAdam(groups)
        with self.assertRaisesRegex(ValueError, "warm-up ends"):
            compressed.OneBitAdam(model.parameters())
        with self.assertRaisesRegex(ValueError, "float32"):
            compressed.OneBitAdam(network().double().parameters())


if __name__ == "__main__":
    unittest.main()
