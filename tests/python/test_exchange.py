import unittest

import numpy

import laconic
from support import on_threads

TENSORS = [("weight", (30, 20)), ("bias", (20,)), ("head", (20, 10))]
SIZE = 30 * 20 + 20 + 20 * 10


def gradient(rank, step):
    return numpy.random.default_rng([rank, step]).standard_normal(SIZE, dtype=numpy.float32)


def run_step(exchange, step, own):
    exchange.vector[:] = own
    exchange.begin(step)
    for tensor in (2, 0, 1):  # any order
        exchange.ready(tensor)
    return exchange.end()


class Exchange(unittest.TestCase):
    def test_the_dense_exchange_is_the_mean(self):
        def rank_body(rank, carrier):
            exchange = laconic.Exchange("dense", TENSORS, carrier, rank, 3)
            self.assertTrue(run_step(exchange, 1, gradient(rank, 1)))
            result, traffic = exchange.vector.copy(), exchange.traffic()
            exchange.close()
            return result, traffic

        results = on_threads(3, rank_body)
        mean = numpy.mean([gradient(rank, 1) for rank in range(3)], axis=0)
        numpy.testing.assert_allclose(results[0][0], mean, atol=1e-6)
        self.assertEqual(len({vector.tobytes() for vector, _ in results}), 1)
        sent = results[0][1]["all-reduce"]["sent_bytes"]
        self.assertAlmostEqual(sent, 2 * 2 / 3 * 4 * SIZE, delta=200)

    def test_every_exchange_of_the_registry_leaves_the_same_bits_on_all_ranks_and_goes_on_from_its_state(self):
        names = [row["slug"] for row in laconic.methods() if row["exchange"]]
        for name in names + ["dense", "ef:onebit", "ef:outliers(fraction=0.05)", "qsgd"]:
            options = {"seed": 4, "steps": 8, "steps_per_epoch": 1}
            if name == "onebit-adam":
                options.update(optimizer="adam", parameters={"freeze_step": "2"})

            def rank_body(rank, carrier):
                exchange, other = (laconic.Exchange(name, TENSORS, carrier, rank, 2, **options) for _ in range(2))
                x = numpy.ones(SIZE, dtype="f4")
                for step in range(1, 5):
                    self.step(exchange, step, rank, x)
                state = exchange.save()
                y = x.copy()
                for step in range(5, 8):
                    self.step(exchange, step, rank, x)
                other.restore(state)
                for step in range(5, 8):
                    self.step(other, step, rank, y)
                exchange.require_equal(x, "the parameters")
                exchange.close(), other.close()
                return x, y

            with self.subTest(name):
                results = on_threads(2, rank_body)
                self.assertEqual(len({x.tobytes() for pair in results for x in pair}), 1)

    def step(self, exchange, step, rank, parameters):
        exchange.vector[:] = gradient(rank, step)
        for tensor in range(len(TENSORS)):
            exchange.prepare(tensor)
        exchange.begin(step)
        self.assertTrue(exchange.end())
        exchange.apply(parameters, 0.01)

    def test_a_step_with_a_number_that_is_not_finite_is_refused_by_all_and_leaves_nothing(self):
        def rank_body(rank, carrier):
            exchange = laconic.Exchange("ef:outliers(fraction=0.1)", TENSORS, carrier, rank, 2)
            run_step(exchange, 1, gradient(rank, 1))
            before, own = exchange.save(), gradient(rank, 2)
            if rank == 1:
                own[3] = numpy.inf
            accepted = run_step(exchange, 2, own)
            after = exchange.save()
            exchange.close()
            return accepted, before == after

        self.assertEqual(on_threads(2, rank_body), [(False, True)] * 2)

    def test_ranks_that_differ_are_named(self):
        def rank_body(rank, carrier):
            with self.assertRaisesRegex(laconic.UsageError, "settings of the exchange"):
                laconic.Exchange("ef:onebit" if rank else "ef:qsgd", TENSORS, carrier, rank, 2)

        on_threads(2, rank_body)

    def test_what_a_carrier_raises_comes_out_of_the_step(self):
        def rank_body(rank, carrier):
            exchange = laconic.Exchange("ef:onebit", TENSORS, carrier, rank, 2)
            if rank == 1:
                exchange.close()
                return
            carrier.receive_length = lambda source, tag: 1 / 0
            with self.assertRaisesRegex(laconic.IoError, "division by zero"):
                run_step(exchange, 1, gradient(rank, 1))
            exchange.close()
            self.assertIn("division by zero", carrier.broken)

        on_threads(2, rank_body)

    def test_one_rank_needs_no_carrier_and_calls_out_of_turn_are_refused(self):
        exchange = laconic.Exchange("ef:outliers(fraction=0.5)", TENSORS)
        with self.assertRaisesRegex(laconic.UsageError, "no step"):
            exchange.ready(0)
        exchange.begin(1)
        exchange.ready(0)
        with self.assertRaisesRegex(laconic.UsageError, "weight: was ready"):
            exchange.ready(0)
        with self.assertRaises(laconic.UsageError):
            exchange.ready(3)
        with self.assertRaisesRegex(laconic.UsageError, "has begun"):
            exchange.save()
        self.assertTrue(exchange.end())
        state = bytearray(exchange.save())
        state[4] ^= 1
        with self.assertRaises(laconic.CorruptError):
            exchange.restore(state)
        exchange.close()
        with self.assertRaisesRegex(laconic.UsageError, "closed"):
            exchange.begin(2)
        with self.assertRaises(laconic.UsageError):
            laconic.Exchange("ef-tpok", TENSORS)


if __name__ == "__main__":
    unittest.main()
