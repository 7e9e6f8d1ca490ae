"""Two LSTM cells learn to continue sine waves, in double precision, by L-BFGS over all of the data."""

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim


class Sequence(nn.Module):
    def __init__(self, hidden):
        super(Sequence, self).__init__()
        self.hidden = hidden
        self.lstm1 = nn.LSTMCell(1, hidden)
        self.lstm2 = nn.LSTMCell(hidden, hidden)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, input, future=0):
        outputs = []
        h_t = torch.zeros(input.size(0), self.hidden, dtype=torch.double)
        c_t = torch.zeros(input.size(0), self.hidden, dtype=torch.double)
        h_t2 = torch.zeros(input.size(0), self.hidden, dtype=torch.double)
        c_t2 = torch.zeros(input.size(0), self.hidden, dtype=torch.double)
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        for i in range(future):  # go on from its own predictions
            h_t, c_t = self.lstm1(output, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        return torch.cat(outputs, dim=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8, help="of L-BFGS, of up to 20 evaluations each")
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--waves", type=int, default=40)
    parser.add_argument("--hidden", type=int, default=24)
    parser.add_argument("--future", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="one step on short waves, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.steps, args.length, args.waves, args.future = 1, 10, 8, 5
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)

    period = 8
    x = np.arange(args.length) + np.random.randint(-4 * period, 4 * period, args.waves).reshape(args.waves, 1)
    data = np.sin(x / 1.0 / period).astype("float64")
    input, target = torch.from_numpy(data[3:, :-1]), torch.from_numpy(data[3:, 1:])
    test_input, test_target = torch.from_numpy(data[:3, :-1]), torch.from_numpy(data[:3, 1:])

    seq = Sequence(args.hidden)
    seq.double()
    criterion = nn.MSELoss()
    optimizer = optim.LBFGS(seq.parameters(), lr=0.8)
    for i in range(args.steps):
        evaluations = []

        def closure():
            optimizer.zero_grad()
            out = seq(input)
            loss = criterion(out, target)
            evaluations.append(loss.item())
            loss.backward()
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            pred = seq(test_input, future=args.future)
            loss = criterion(pred[:, : -args.future], test_target)
            y = pred.detach().numpy()
        print(f"step {i}: loss {evaluations[0]:.6f} to {evaluations[-1]:.6f}, test loss {loss.item():.6f}")
    print("continued:", np.array2string(y[0, args.length - 1 :: 8], precision=3))
    print(f"test loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
