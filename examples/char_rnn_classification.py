"""Which language does a family name come from?  A recurrent network written by hand reads it letter by letter."""

import argparse
import math
import random
import string
import time
from pathlib import Path

import torch
import torch.nn as nn

all_letters = string.ascii_letters + " .,;'-"
n_letters = len(all_letters)


def read_names():
    """Names by language, from data/surnames.txt."""
    names = {}
    for line in (Path(__file__).parent / "data" / "surnames.txt").read_text().splitlines():
        if not line.startswith("#"):
            language, rest = line.split(": ")
            names[language] = rest.split()
    return names


def line_to_tensor(line):
    """One letter per row, one-hot: (letters, 1, n_letters)."""
    tensor = torch.zeros(len(line), 1, n_letters)
    for li, letter in enumerate(line):
        tensor[li][0][all_letters.find(letter)] = 1
    return tensor


class RNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super(RNN, self).__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size, hidden_size)
        self.h2h = nn.Linear(hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, input, hidden):
        hidden = torch.tanh(self.i2h(input) + self.h2h(hidden))
        output = self.softmax(self.h2o(hidden))
        return output, hidden

    def initHidden(self):
        return torch.zeros(1, self.hidden_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--quick", action="store_true", help="60 names, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    n_iters = 60 if args.quick else args.steps
    torch.manual_seed(args.seed)
    random.seed(args.seed)

    names = read_names()
    all_categories = list(names)
    train_names = {language: lines[:-5] for language, lines in names.items()}
    test_names = {language: lines[-5:] for language, lines in names.items()}

    def category_from_output(output):
        top_n, top_i = output.topk(1)
        category_i = top_i[0].item()
        return all_categories[category_i], category_i

    def random_training_example():
        category = random.choice(all_categories)
        line = random.choice(train_names[category])
        category_tensor = torch.tensor([all_categories.index(category)], dtype=torch.long)
        return category, line, category_tensor, line_to_tensor(line)

    rnn = RNN(n_letters, args.hidden, len(all_categories))
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(rnn.parameters(), lr=args.lr, momentum=0.5)

    def train(category_tensor, line_tensor):
        hidden = rnn.initHidden()
        optimizer.zero_grad()
        for i in range(line_tensor.size()[0]):
            output, hidden = rnn(line_tensor[i], hidden)
        loss = criterion(output, category_tensor)
        loss.backward()
        optimizer.step()
        return output, loss.item()

    def evaluate(line_tensor):
        hidden = rnn.initHidden()
        with torch.no_grad():
            for i in range(line_tensor.size()[0]):
                output, hidden = rnn(line_tensor[i], hidden)
        return output

    start = time.time()
    current_loss = 0
    print_every = max(1, n_iters // 8)
    for iter in range(1, n_iters + 1):
        category, line, category_tensor, line_tensor = random_training_example()
        output, loss = train(category_tensor, line_tensor)
        current_loss += loss
        if iter % print_every == 0:
            guess, guess_i = category_from_output(output)
            correct = "right" if guess == category else f"wrong ({category})"
            current_loss /= print_every
            print(f"{iter:6d} {100 * iter // n_iters:3d}% loss {current_loss:.4f} {line} / {guess} {correct}")
            current_loss = 0

    confusion = torch.zeros(len(all_categories), len(all_categories))
    for language, lines in test_names.items():
        for line in lines:
            _, guess_i = category_from_output(evaluate(line_to_tensor(line)))
            confusion[all_categories.index(language)][guess_i] += 1
    for i in range(len(all_categories)):
        confusion[i] = confusion[i] / confusion[i].sum()
    print(confusion)

    output = evaluate(line_to_tensor("Lindberg"))
    topv, topi = output.topk(3, 1, True)
    for i in range(3):
        print(f"  ({math.exp(topv[0][i].item()):.2f}) {all_categories[topi[0][i].item()]}")
    print(f"took {time.time() - start:.1f} s")
    print(f"accuracy on names not seen {100 * confusion.diag().mean().item():.1f}%")


if __name__ == "__main__":
    main()
