"""A graph convolutional network (Kipf & Welling 2017) finds the subject of papers from words and citations.

The graph is drawn at random: papers cite mostly papers of their own subject, and use its words more often.  Messages
are passed with ``index_add_`` along the edges.
"""

import argparse
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F


def citation_graph(papers, subjects, words, generator):
    """Words (papers, words) as 0/1, edges (2, E) in both directions with self-loops, subjects (papers,)."""
    subject = torch.arange(papers) % subjects
    same = subject.unsqueeze(0) == subject.unsqueeze(1)
    chance = torch.where(same, torch.tensor(24.0 / papers), torch.tensor(1.0 / papers))
    upper = torch.triu(torch.rand(papers, papers, generator=generator) < chance, diagonal=1)
    adjacency = (upper | upper.t()).long()
    adjacency.fill_diagonal_(1)
    edges = adjacency.nonzero(as_tuple=False).t().contiguous()
    topic = torch.arange(words) % subjects
    often = (subject.unsqueeze(1) == topic.unsqueeze(0)).float()
    features = (torch.rand(papers, words, generator=generator) < 0.02 + 0.06 * often).float()
    return features, edges, subject


class GraphConvolution(nn.Module):
    """``D^-1/2 A D^-1/2 X W + b``; the graph comes as edges and their weights."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.reset_parameters()

    def reset_parameters(self):
        stdv = 1.0 / self.weight.size(1) ** 0.5
        self.weight.data.uniform_(-stdv, stdv)
        self.bias.data.uniform_(-stdv, stdv)

    def forward(self, input, edges, norm):
        support = torch.mm(input, self.weight)
        source, target = edges
        output = torch.zeros_like(support)
        output.index_add_(0, target, norm.unsqueeze(1) * support[source])
        return output + self.bias

    def __repr__(self):
        return self.__class__.__name__ + " (" + " -> ".join(map(str, self.weight.shape)) + ")"


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super().__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, edges, norm):
        x = F.relu(self.gc1(x, edges, norm))
        x = F.dropout(x, self.dropout, training=self.training)
        x = self.gc2(x, edges, norm)
        return F.log_softmax(x, dim=1)


def accuracy(output, labels):
    preds = output.max(1)[1].type_as(labels)
    correct = preds.eq(labels).double()
    correct = correct.sum()
    return correct / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--papers", type=int, default=700)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--patience", type=int, default=60, help="epochs without a better one before stopping")
    parser.add_argument("--quick", action="store_true", help="few epochs on a small graph, for a quick look")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.papers = 10, 140
    torch.manual_seed(args.seed)

    features, edges, labels = citation_graph(args.papers, 7, 350, torch.Generator().manual_seed(args.seed))
    degree = torch.zeros(args.papers).index_add_(0, edges[1], torch.ones(edges.shape[1]))
    norm = degree.rsqrt()[edges[0]] * degree.rsqrt()[edges[1]]
    features = features / features.sum(1, keepdim=True).clamp(min=1)
    order = torch.randperm(args.papers)
    n = args.papers
    idx_train, idx_val, idx_test = order[: n // 7], order[n // 7 : n * 3 // 7], order[n * 3 // 7 :]

    model = GCN(features.shape[1], args.hidden, int(labels.max()) + 1, args.dropout)
    print(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    best, since = (0.0, None), 0
    for epoch in range(args.epochs):
        model.train()
        optimizer.zero_grad()
        output = model(features, edges, norm)
        loss_train = F.nll_loss(output[idx_train], labels[idx_train])
        acc_train = accuracy(output[idx_train], labels[idx_train])
        loss_train.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            output = model(features, edges, norm)
        loss_val = F.nll_loss(output[idx_val], labels[idx_val])
        acc_val = accuracy(output[idx_val], labels[idx_val])
        if epoch % 20 == 0:
            print(
                f"Epoch: {epoch:04d} loss_train: {loss_train.item():.4f} acc_train: {acc_train.item():.4f} "
                f"loss_val: {loss_val.item():.4f} acc_val: {acc_val.item():.4f}"
            )
        if acc_val > best[0]:
            best, since = (acc_val.item(), copy.deepcopy(model.state_dict())), 0
        else:
            since += 1
            if since >= args.patience:
                print(f"early stopping at epoch {epoch}")
                break
    model.load_state_dict(best[1])
    model.eval()
    output = model(features, edges, norm)
    loss_test = F.nll_loss(output[idx_test], labels[idx_test])
    acc_test = accuracy(output[idx_test], labels[idx_test])
    print(f"test loss {loss_test.item():.4f}")
    print(f"accuracy {100 * acc_test.item():.1f}%")


if __name__ == "__main__":
    main()
