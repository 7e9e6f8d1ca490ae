"""Word vectors: n-grams (Bengio et al. 2003), CBOW, or skip-gram with negative samples (Mikolov et al. 2013).

    python -m pytorchlike examples/word2vec.py --model skipgram
"""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from _text import load_text


class NGramLanguageModeler(nn.Module):
    def __init__(self, vocab_size, embedding_dim, context_size):
        super(NGramLanguageModeler, self).__init__()
        self.embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.linear1 = nn.Linear(context_size * embedding_dim, 128)
        self.linear2 = nn.Linear(128, vocab_size)

    def forward(self, inputs):
        embeds = self.embeddings(inputs).view((inputs.shape[0], -1))
        out = F.relu(self.linear1(embeds))
        return F.log_softmax(self.linear2(out), dim=1)


class CBOW(nn.Module):
    def __init__(self, vocab_size, embedding_dim):
        super().__init__()
        self.embeddings = nn.EmbeddingBag(vocab_size, embedding_dim, mode="mean")
        self.linear = nn.Linear(embedding_dim, vocab_size)

    def forward(self, inputs):
        return F.log_softmax(self.linear(self.embeddings(inputs)), dim=-1)


class SkipGram(nn.Module):
    """Scores pairs of words; the loss needs no softmax over the vocabulary."""

    def __init__(self, vocab_size, embedding_dim):
        super().__init__()
        self.embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.contexts = nn.Embedding(vocab_size, embedding_dim)
        self.embeddings.weight.data.uniform_(-0.5 / embedding_dim, 0.5 / embedding_dim)
        self.contexts.weight.data.zero_()

    def forward(self, centre, context, negatives):
        v, u = self.embeddings(centre), self.contexts(context)
        positive = F.logsigmoid((u * v).sum(1))
        noise = self.contexts(negatives)
        negative = F.logsigmoid(-torch.bmm(noise, v.unsqueeze(2)).squeeze(2)).sum(1)
        return -(positive + negative).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["ngram", "cbow", "skipgram"], default="cbow")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--characters", type=int, default=100_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--negatives", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one epoch of a short text, for a quick look")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.characters = 1, 12_000
    torch.manual_seed(args.seed)

    text = load_text(args.characters).lower().split()
    counts = {}
    for word in text:
        counts[word] = counts.get(word, 0) + 1
    text = [word for word in text if counts[word] > 2]
    vocab = sorted(set(text))
    word_to_ix = {word: i for i, word in enumerate(vocab)}
    ids = torch.tensor([word_to_ix[w] for w in text], dtype=torch.long)
    windows = ids.unfold(0, 5, 1)
    if args.model == "ngram":
        contexts, targets = windows[:, :2], windows[:, 2]
        model = NGramLanguageModeler(len(vocab), args.dim, 2)
    elif args.model == "cbow":
        contexts, targets = windows[:, [0, 1, 3, 4]], windows[:, 2]
        model = CBOW(len(vocab), args.dim)
    else:
        contexts, targets = windows[:, [0, 1, 3, 4]].reshape(-1), windows[:, 2].repeat_interleave(4)
        model = SkipGram(len(vocab), args.dim)
    frequency = torch.bincount(ids, minlength=len(vocab)).float().pow(0.75)
    loss_function = nn.NLLLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    print(f"{len(text)} words, {len(vocab)} different ones, {len(targets)} pairs")

    for epoch in range(1, args.epochs + 1):
        total_loss, batches = 0, 0
        order = torch.randperm(len(targets))
        for i in range(0, len(order) - args.batch_size + 1, args.batch_size):
            index = order[i : i + args.batch_size]
            model.zero_grad()
            if args.model == "skipgram":
                noise = torch.multinomial(frequency, args.batch_size * args.negatives, replacement=True)
                loss = model(targets[index], contexts[index], noise.view(args.batch_size, -1))
            else:
                loss = loss_function(model(contexts[index]), targets[index])
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
            batches += 1
        print(f"epoch {epoch}: loss {total_loss / batches:.4f}")

    with torch.no_grad():
        vectors = F.normalize(model.embeddings.weight, dim=1)
        for word in ("class", "function", "list", "is"):
            if word in word_to_ix:
                similarity = vectors @ vectors[word_to_ix[word]]
                values, nearest = torch.topk(similarity, 5)
                print(f"{word}: {', '.join(f'{vocab[i]} {v:.2f}' for v, i in zip(values[1:], nearest[1:]))}")
    print(f"loss {total_loss / batches:.3f}")


if __name__ == "__main__":
    main()
