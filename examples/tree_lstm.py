"""A Tree-LSTM (Tai, Socher & Manning 2015) computes nested formulas: every tree has a shape of its own.

The formulas look like ``(max 3 (sum 4 1) 7)``, as in ListOps (Nangia & Bowman 2018); the answer is a digit.
"""

import argparse
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

OPERATORS = {"max": max, "min": min, "sum": lambda values: sum(values) % 10}
VOCABULARY = [str(d) for d in range(10)] + list(OPERATORS)


class Tree(object):
    """A digit, or an operator over trees."""

    def __init__(self, token, children=()):
        self.token = token
        self.children = children

    @classmethod
    def draw(cls, rng, depth):
        if depth == 0 or rng.random() < 0.25:
            return cls(str(rng.randrange(10)))
        return cls(rng.choice(list(OPERATORS)), [cls.draw(rng, depth - 1) for _ in range(rng.randint(2, 3))])

    def value(self):
        if not self.children:
            return int(self.token)
        return OPERATORS[self.token]([child.value() for child in self.children])

    def size(self):
        return 1 + sum(child.size() for child in self.children)

    def __str__(self):
        return f"({self.token} {' '.join(map(str, self.children))})" if self.children else self.token


class ChildSumTreeLSTM(nn.Module):
    def __init__(self, in_dim, mem_dim):
        super().__init__()
        self.mem_dim = mem_dim
        self.ioux = nn.Linear(in_dim, 3 * mem_dim)
        self.iouh = nn.Linear(mem_dim, 3 * mem_dim, bias=False)
        self.fx = nn.Linear(in_dim, mem_dim)
        self.fh = nn.Linear(mem_dim, mem_dim, bias=False)

    def node_forward(self, inputs, child_c, child_h):
        child_h_sum = torch.sum(child_h, dim=0, keepdim=True)
        iou = self.ioux(inputs) + self.iouh(child_h_sum)
        i, o, u = torch.split(iou, iou.size(1) // 3, dim=1)
        i, o, u = torch.sigmoid(i), torch.sigmoid(o), torch.tanh(u)
        f = torch.sigmoid(self.fh(child_h) + self.fx(inputs).repeat(len(child_h), 1))
        c = torch.mul(i, u) + torch.sum(torch.mul(f, child_c), dim=0, keepdim=True)
        return c, torch.mul(o, torch.tanh(c))

    def forward(self, tree, embed):
        if tree.children:
            child_c, child_h = zip(*(self(child, embed) for child in tree.children))
            child_c, child_h = torch.cat(child_c, dim=0), torch.cat(child_h, dim=0)
        else:
            child_c = child_h = torch.zeros(1, self.mem_dim)
        return self.node_forward(embed(torch.tensor([VOCABULARY.index(tree.token)])), child_c, child_h)


class TreeNet(nn.Module):
    def __init__(self, in_dim, mem_dim):
        super().__init__()
        self.emb = nn.Embedding(len(VOCABULARY), in_dim)
        self.childsum = ChildSumTreeLSTM(in_dim, mem_dim)
        self.wh = nn.Linear(2 * mem_dim, mem_dim)
        self.wp = nn.Linear(mem_dim, 10)

    def forward(self, tree):
        state, hidden = self.childsum(tree, self.emb)
        return self.wp(F.relu(self.wh(torch.cat((state, hidden), dim=1))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=int, default=4000, help="formulas to learn from")
    parser.add_argument("--batch-size", type=int, default=8, help="trees per step, one after the other")
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--quick", action="store_true", help="few shallow trees, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.trees, args.depth, args.batch_size = 16, 2, 4
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)

    model = TreeNet(32, args.hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss()
    total, nodes = 0.0, 0
    optimizer.zero_grad()
    for i in range(1, args.trees + 1):
        tree = Tree.draw(rng, args.depth)
        nodes += tree.size()
        loss = criterion(model(tree), torch.tensor([tree.value()]))
        total += loss.item()
        (loss / args.batch_size).backward()
        if i % args.batch_size == 0:
            optimizer.step()
            optimizer.zero_grad()
        if i % max(1, args.trees // 8) == 0:
            print(f"{i:5d} trees, {nodes} nodes: loss {total / max(1, args.trees // 8):.4f}")
            total = 0.0

    model.eval()
    right, n_test = 0, 10 if args.quick else 300
    with torch.no_grad():
        for i in range(n_test):
            tree = Tree.draw(rng, args.depth)
            guess = model(tree).argmax(1).item()
            right += guess == tree.value()
            if i < 3:
                print(f"{tree} = {guess} (is {tree.value()})")
    print(f"accuracy {100 * right / n_test:.1f}%")


if __name__ == "__main__":
    main()
