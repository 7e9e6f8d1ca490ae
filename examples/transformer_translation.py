"""Turn dates as people write them into the ISO form with a Transformer (Vaswani et al. 2017) of characters.

``torch.nn.Transformer`` with its masks: causal for the decoder, and padding for dates of different lengths.
"""

import argparse
import datetime
import math
import random

import torch
import torch.nn as nn
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

PAD, BOS, EOS = 0, 1, 2
CHARACTERS = " -,./0123456789abcdefghijklmnopqrstuvwxyz"
STOI = {c: i + 3 for i, c in enumerate(CHARACTERS)}
FORMATS = ["{d} {month} {y}", "{month} {d}, {y}", "{d}/{m}/{y}", "{weekday}, {d} {month} {y}", "{d}.{m:02d}.{y}"]


def random_date(rng):
    """A date written in one of several ways, and its ISO form."""
    date = datetime.date(1950, 1, 1) + datetime.timedelta(days=rng.randrange(36_500))
    written = rng.choice(FORMATS).format(
        d=date.day, m=date.month, y=date.year, month=date.strftime("%B"), weekday=date.strftime("%A")
    )
    return written.lower(), date.isoformat()


def encode(text):
    return torch.cat((torch.tensor([BOS]), torch.tensor([STOI[c] for c in text]), torch.tensor([EOS])))


def collate_fn(batch):
    """Padded batches, (length, batch)."""
    src = pad_sequence([encode(s) for s, _ in batch], padding_value=PAD)
    tgt = pad_sequence([encode(t) for _, t in batch], padding_value=PAD)
    return src, tgt


class PositionalEncoding(nn.Module):
    def __init__(self, emb_size, dropout, maxlen=64):
        super().__init__()
        den = torch.exp(-torch.arange(0, emb_size, 2) * math.log(10000) / emb_size)
        pos = torch.arange(0, maxlen).reshape(maxlen, 1)
        pos_embedding = torch.zeros((maxlen, emb_size))
        pos_embedding[:, 0::2] = torch.sin(pos * den)
        pos_embedding[:, 1::2] = torch.cos(pos * den)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("pos_embedding", pos_embedding.unsqueeze(-2))

    def forward(self, token_embedding: Tensor):
        return self.dropout(token_embedding + self.pos_embedding[: token_embedding.size(0), :])


class Seq2SeqTransformer(nn.Module):
    def __init__(self, layers, emb_size, nhead, vocab, dim_feedforward, dropout):
        super().__init__()
        self.transformer = nn.Transformer(
            d_model=emb_size,
            nhead=nhead,
            num_encoder_layers=layers,
            num_decoder_layers=layers,
            dim_feedforward=dim_feedforward,
            dropout=dropout,
        )
        self.generator = nn.Linear(emb_size, vocab)
        self.tok_emb = nn.Embedding(vocab, emb_size)
        self.positional_encoding = PositionalEncoding(emb_size, dropout=dropout)
        self.emb_size = emb_size

    def embed(self, tokens):
        return self.positional_encoding(self.tok_emb(tokens.long()) * math.sqrt(self.emb_size))

    def forward(self, src, trg, src_mask, tgt_mask, src_padding_mask, tgt_padding_mask, memory_key_padding_mask):
        outs = self.transformer(
            self.embed(src),
            self.embed(trg),
            src_mask,
            tgt_mask,
            None,
            src_padding_mask,
            tgt_padding_mask,
            memory_key_padding_mask,
        )
        return self.generator(outs)

    def encode(self, src, src_mask):
        return self.transformer.encoder(self.embed(src), src_mask)

    def decode(self, tgt, memory, tgt_mask):
        return self.transformer.decoder(self.embed(tgt), memory, tgt_mask)


def subsequent_mask(sz):
    """True where a position may not look: at later ones."""
    return torch.triu(torch.ones((sz, sz), dtype=torch.bool), diagonal=1)


def create_mask(src, tgt):
    src_seq_len, tgt_seq_len = src.shape[0], tgt.shape[0]
    src_mask = torch.zeros((src_seq_len, src_seq_len)).type(torch.bool)
    src_padding_mask = (src == PAD).transpose(0, 1)
    tgt_padding_mask = (tgt == PAD).transpose(0, 1)
    return src_mask, subsequent_mask(tgt_seq_len), src_padding_mask, tgt_padding_mask


def greedy_decode(model, src, src_mask, max_len, start_symbol):
    """The likeliest next character, again and again."""
    memory = model.encode(src, src_mask)
    ys = torch.ones(1, 1).fill_(start_symbol).type(torch.long)
    for _ in range(max_len - 1):
        out = model.decode(ys, memory, subsequent_mask(ys.size(0)))
        out = out.transpose(0, 1)
        prob = model.generator(out[:, -1])
        _, next_word = torch.max(prob, dim=1)
        next_word = next_word.item()
        ys = torch.cat([ys, torch.ones(1, 1).type_as(src.data).fill_(next_word)], dim=0)
        if next_word == EOS:
            break
    return ys


def translate(model, written, max_len):
    model.eval()
    src = encode(written).view(-1, 1)
    num_tokens = src.shape[0]
    src_mask = (torch.zeros(num_tokens, num_tokens)).type(torch.bool)
    with torch.no_grad():
        tokens = greedy_decode(model, src, src_mask, max_len, start_symbol=BOS).flatten()
    return "".join(CHARACTERS[t - 3] if t > 2 else "" for t in tokens.tolist())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--emb-size", type=int, default=48)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--quick", action="store_true", help="few dates and one layer, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.layers, args.emb_size = 1, 1, 16
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)

    train_set = [random_date(rng) for _ in range(192 if args.quick else 4096)]
    test_set = [random_date(rng) for _ in range(1 if args.quick else 50)]
    loader = DataLoader(train_set, batch_size=args.batch_size, collate_fn=collate_fn)
    model = Seq2SeqTransformer(args.layers, args.emb_size, 4, len(STOI) + 3, 4 * args.emb_size, args.dropout)
    for p in model.parameters():
        if p.dim() > 1:
            nn.init.xavier_uniform_(p)
    loss_fn = torch.nn.CrossEntropyLoss(ignore_index=PAD)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, betas=(0.9, 0.98), eps=1e-9)

    for epoch in range(1, args.epochs + 1):
        model.train()
        losses = 0
        for src, tgt in loader:
            tgt_input = tgt[:-1, :]
            src_mask, tgt_mask, src_padding_mask, tgt_padding_mask = create_mask(src, tgt_input)
            logits = model(src, tgt_input, src_mask, tgt_mask, src_padding_mask, tgt_padding_mask, src_padding_mask)
            optimizer.zero_grad()
            tgt_out = tgt[1:, :]
            loss = loss_fn(logits.reshape(-1, logits.shape[-1]), tgt_out.reshape(-1))
            loss.backward()
            optimizer.step()
            losses += loss.item()
        print(f"Epoch: {epoch}, Train loss: {losses / len(loader):.3f}")

    right = 0
    for i, (written, iso) in enumerate(test_set):
        guess = translate(model, written, max_len=4 if args.quick else 13)
        right += guess == iso
        if i < 3:
            print(f"{written} -> {guess} (is {iso})")
    print(f"right {100 * right / len(test_set):.0f}%")


if __name__ == "__main__":
    main()
