"""Translate numbers from English words to German ones with recurrent networks and attention (Bahdanau et al. 2015).

One pair after the other, of any length, word by word; half of the time the decoder is told the right previous word
(teacher forcing), half of the time it must go on from its own.
"""

import argparse
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim

SOS_token, EOS_token = 0, 1
MAX_LENGTH = 12

ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
GERMAN = (
    "null eins zwei drei vier fuenf sechs sieben acht neun zehn elf zwoelf dreizehn vierzehn fuenfzehn sechzehn "
    "siebzehn achtzehn neunzehn"
).split()
GERMAN_TENS = "zwanzig dreissig vierzig fuenfzig sechzig siebzig achtzig neunzig".split()


def english(n):
    if n >= 1000:
        return [*english(n // 1000), "thousand", *(english(n % 1000) if n % 1000 else [])]
    if n >= 100:
        return [ENGLISH[n // 100], "hundred", *(["and", *english(n % 100)] if n % 100 else [])]
    if n >= 20:
        return [ENGLISH_TENS[n // 10 - 2], *([ENGLISH[n % 10]] if n % 10 else [])]
    return [ENGLISH[n]]


def german(n):
    if n >= 1000:
        return ["ein" if n < 2000 else GERMAN[n // 1000], "tausend", *(german(n % 1000) if n % 1000 else [])]
    if n >= 100:
        return ["ein" if n < 200 else GERMAN[n // 100], "hundert", *(german(n % 100) if n % 100 else [])]
    if n >= 20:
        ones = ["ein" if n % 10 == 1 else GERMAN[n % 10], "und"] if n % 10 else []
        return [*ones, GERMAN_TENS[n // 10 - 2]]
    return [GERMAN[n]]


class Lang:
    def __init__(self):
        self.word2index = {}
        self.index2word = {0: "SOS", 1: "EOS"}
        self.n_words = 2

    def add_sentence(self, sentence):
        for word in sentence:
            if word not in self.word2index:
                self.word2index[word] = self.n_words
                self.index2word[self.n_words] = word
                self.n_words += 1

    def tensor(self, sentence):
        indexes = [self.word2index[word] for word in sentence] + [EOS_token]
        return torch.tensor(indexes, dtype=torch.long).view(-1, 1)


class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size):
        super(EncoderRNN, self).__init__()
        self.hidden_size = hidden_size
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size)

    def forward(self, input, hidden):
        embedded = self.embedding(input).view(1, 1, -1)
        output, hidden = self.gru(embedded, hidden)
        return output, hidden

    def initHidden(self):
        return torch.zeros(1, 1, self.hidden_size)


class AttnDecoderRNN(nn.Module):
    def __init__(self, hidden_size, output_size, dropout_p=0.1, max_length=MAX_LENGTH):
        super(AttnDecoderRNN, self).__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.attn = nn.Linear(hidden_size * 2, max_length)
        self.attn_combine = nn.Linear(hidden_size * 2, hidden_size)
        self.dropout = nn.Dropout(dropout_p)
        self.gru = nn.GRU(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, input, hidden, encoder_outputs):
        embedded = self.embedding(input).view(1, 1, -1)
        embedded = self.dropout(embedded)
        attn_weights = F.softmax(self.attn(torch.cat((embedded[0], hidden[0]), 1)), dim=1)
        attn_applied = torch.bmm(attn_weights.unsqueeze(0), encoder_outputs.unsqueeze(0))
        output = torch.cat((embedded[0], attn_applied[0]), 1)
        output = F.relu(self.attn_combine(output).unsqueeze(0))
        output, hidden = self.gru(output, hidden)
        output = F.log_softmax(self.out(output[0]), dim=1)
        return output, hidden, attn_weights


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--teacher-forcing", type=float, default=0.5, help="how often the decoder is told the word")
    parser.add_argument("--quick", action="store_true", help="16 pairs of short numbers, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    n_iters, top = (16, 20) if args.quick else (args.steps, 10_000)
    torch.manual_seed(args.seed)
    random.seed(args.seed)

    input_lang, output_lang = Lang(), Lang()
    for n in range(0, 10_000, 7):
        input_lang.add_sentence(english(n))
        output_lang.add_sentence(german(n))
    encoder = EncoderRNN(input_lang.n_words, args.hidden)
    decoder = AttnDecoderRNN(args.hidden, output_lang.n_words)
    encoder_optimizer = optim.SGD(encoder.parameters(), lr=args.lr)
    decoder_optimizer = optim.SGD(decoder.parameters(), lr=args.lr)
    criterion = nn.NLLLoss()

    def encode(input_tensor):
        encoder_hidden = encoder.initHidden()
        encoder_outputs = torch.zeros(MAX_LENGTH, encoder.hidden_size)
        for ei in range(input_tensor.size(0)):
            encoder_output, encoder_hidden = encoder(input_tensor[ei], encoder_hidden)
            encoder_outputs[ei] = encoder_output[0, 0]
        return encoder_outputs, encoder_hidden

    def train(input_tensor, target_tensor):
        encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        target_length = target_tensor.size(0)
        loss = 0
        encoder_outputs, decoder_hidden = encode(input_tensor)
        decoder_input = torch.tensor([[SOS_token]])
        use_teacher_forcing = True if random.random() < args.teacher_forcing else False
        if use_teacher_forcing:
            for di in range(target_length):
                decoder_output, decoder_hidden, _ = decoder(decoder_input, decoder_hidden, encoder_outputs)
                loss += criterion(decoder_output, target_tensor[di])
                decoder_input = target_tensor[di]
        else:
            for di in range(target_length):
                decoder_output, decoder_hidden, _ = decoder(decoder_input, decoder_hidden, encoder_outputs)
                topv, topi = decoder_output.topk(1)
                decoder_input = topi.squeeze().detach()
                loss += criterion(decoder_output, target_tensor[di])
                if decoder_input.item() == EOS_token:
                    break
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 5.0)
        encoder_optimizer.step()
        decoder_optimizer.step()
        return loss.item() / target_length

    def translate(sentence):
        with torch.no_grad():
            encoder_outputs, decoder_hidden = encode(input_lang.tensor(sentence))
            decoder_input = torch.tensor([[SOS_token]])
            decoded_words = []
            decoder_attentions = torch.zeros(MAX_LENGTH, MAX_LENGTH)
            for di in range(MAX_LENGTH):
                decoder_output, decoder_hidden, decoder_attention = decoder(
                    decoder_input, decoder_hidden, encoder_outputs
                )
                decoder_attentions[di] = decoder_attention.data
                topv, topi = decoder_output.data.topk(1)
                if topi.item() == EOS_token:
                    break
                decoded_words.append(output_lang.index2word[topi.item()])
                decoder_input = topi.squeeze().detach()
            return decoded_words, decoder_attentions[: di + 1]

    total, print_every = 0, max(1, n_iters // 10)
    for iter in range(1, n_iters + 1):
        n = random.randrange(top)
        total += train(input_lang.tensor(english(n)), output_lang.tensor(german(n)))
        if iter % print_every == 0:
            print(f"{iter:6d} {100 * iter // n_iters:3d}% loss {total / print_every:.4f}")
            total = 0

    encoder.eval()
    decoder.eval()
    right, trials = 0, 4 if args.quick else 100
    for i in range(trials):
        n = random.randrange(top)
        words, attentions = translate(english(n))
        right += words == german(n)
        if i < 4:
            print(f"{n}: {' '.join(english(n))} = {' '.join(words)} (should be {' '.join(german(n))})")
    print(f"attention of the last one: {tuple(attentions.shape)}, rows sum to {attentions.sum(1).mean().item():.3f}")
    print(f"right {100 * right / trials:.0f}%")


if __name__ == "__main__":
    main()
