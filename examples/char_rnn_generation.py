"""Make up family names of a language, letter by letter, with a recurrent network written by hand."""

import argparse
import random

import torch
import torch.nn as nn
from char_rnn_classification import all_letters, read_names

n_letters = len(all_letters) + 1  # and the end of the name


class RNN(nn.Module):
    def __init__(self, n_categories, input_size, hidden_size, output_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(n_categories + input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(n_categories + input_size + hidden_size, output_size)
        self.o2o = nn.Linear(hidden_size + output_size, output_size)
        self.dropout = nn.Dropout(0.1)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, category, input, hidden):
        input_combined = torch.cat((category, input, hidden), 1)
        hidden = self.i2h(input_combined)
        output = self.i2o(input_combined)
        output_combined = torch.cat((hidden, output), 1)
        output = self.dropout(self.o2o(output_combined))
        return self.softmax(output), hidden

    def init_hidden(self):
        return torch.zeros(1, self.hidden_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--quick", action="store_true", help="40 names, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    n_iters = 40 if args.quick else args.steps
    torch.manual_seed(args.seed)
    random.seed(args.seed)

    names = read_names()
    all_categories = list(names)
    n_categories = len(all_categories)

    def category_tensor(category):
        tensor = torch.zeros(1, n_categories)
        tensor[0][all_categories.index(category)] = 1
        return tensor

    def input_tensor(line):
        tensor = torch.zeros(len(line), 1, n_letters)
        for li in range(len(line)):
            tensor[li][0][all_letters.find(line[li])] = 1
        return tensor

    def target_tensor(line):
        return torch.LongTensor([all_letters.find(line[li]) for li in range(1, len(line))] + [n_letters - 1])

    rnn = RNN(n_categories, n_letters, args.hidden, n_letters)
    criterion = nn.NLLLoss()

    def train(category, input_line, target_line):
        target_line.unsqueeze_(-1)
        hidden = rnn.init_hidden()
        rnn.zero_grad()
        loss = torch.Tensor([0])  # the losses of the letters are added here
        for i in range(input_line.size(0)):
            output, hidden = rnn(category, input_line[i], hidden)
            loss = loss + criterion(output, target_line[i])
        loss.backward()
        for p in rnn.parameters():  # gradient descent by hand
            p.data.add_(p.grad.data, alpha=-args.lr)
        return output, loss.item() / input_line.size(0)

    total_loss = 0
    print_every = max(1, n_iters // 8)
    for iter in range(1, n_iters + 1):
        category = random.choice(all_categories)
        line = random.choice(names[category])
        output, loss = train(category_tensor(category), input_tensor(line), target_tensor(line))
        total_loss += loss
        if iter % print_every == 0:
            print(f"{iter:6d} {100 * iter // n_iters:3d}% loss {total_loss / print_every:.4f}")
            last, total_loss = total_loss / print_every, 0

    def sample(category, start_letter, max_length=20):
        with torch.no_grad():
            category = category_tensor(category)
            input = input_tensor(start_letter)
            hidden = rnn.init_hidden()
            output_name = start_letter
            for _ in range(max_length):
                output, hidden = rnn(category, input[0], hidden)
                topv, topi = output.topk(1)
                topi = topi[0][0]
                if topi == n_letters - 1:
                    break
                letter = all_letters[topi]
                output_name += letter
                input = input_tensor(letter)
            return output_name

    rnn.eval()
    for language, letters in [("German", "SKB"), ("Spanish", "GRM"), ("Japanese", "TYK"), ("Polish", "KWS")]:
        print(f"{language}: {' '.join(sample(language, letter) for letter in letters)}")
    print(f"loss per letter {last:.3f}")


if __name__ == "__main__":
    main()
