"""Neural style transfer (Gatys, Ecker & Bethge 2016): L-BFGS on the pixels of a picture.

Content and style are compared in the features of a fixed convolutional network; with no trained one at hand it has
random orthogonal filters, which are enough for textures (Ustyuzhaninov et al. 2016).  Formulas draw both pictures.
"""

import argparse
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim


def pictures(size):
    """Content, a ball before a horizon, and style, coloured waves: (1, 3, size, size) each, from 0 to 1."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    ball = ((x**2 + y**2) < 0.42).float() * (0.6 - 0.5 * x)
    content = torch.stack([ball, ball * 0.5 + 0.3 * (y > 0.3), 0.4 - 0.3 * y])
    style = torch.stack([torch.sin(9 * x + 5 * torch.sin(4 * y)), torch.cos(11 * y), torch.sin(8 * (x + y))])
    return content.clamp(0, 1).unsqueeze(0), (style * 0.5 + 0.5).unsqueeze(0)


class ContentLoss(nn.Module):
    def __init__(self, target):
        super(ContentLoss, self).__init__()
        self.target = target.detach()

    def forward(self, input):
        self.loss = F.mse_loss(input, self.target)
        return input


def gram_matrix(input):
    a, b, c, d = input.size()
    features = input.view(a * b, c * d)
    G = torch.mm(features, features.t())
    return G.div(a * b * c * d)


class StyleLoss(nn.Module):
    def __init__(self, target_feature):
        super(StyleLoss, self).__init__()
        self.target = gram_matrix(target_feature).detach()

    def forward(self, input):
        G = gram_matrix(input)
        self.loss = F.mse_loss(G, self.target)
        return input


class Normalization(nn.Module):
    def __init__(self, mean, std):
        super(Normalization, self).__init__()
        self.mean = mean.clone().detach().view(-1, 1, 1)
        self.std = std.clone().detach().view(-1, 1, 1)

    def forward(self, img):
        return (img - self.mean) / self.std


def get_style_model_and_losses(cnn, style_img, content_img):
    cnn = copy.deepcopy(cnn)
    normalization = Normalization(torch.tensor([0.45, 0.45, 0.45]), torch.tensor([0.25, 0.25, 0.25]))
    content_losses, style_losses = [], []
    model = nn.Sequential(normalization)
    i = 0
    for layer in cnn.children():
        if isinstance(layer, nn.Conv2d):
            i += 1
            name = f"conv_{i}"
        elif isinstance(layer, nn.ReLU):
            name = f"relu_{i}"
            layer = nn.ReLU(inplace=False)
        elif isinstance(layer, nn.AvgPool2d):
            name = f"pool_{i}"
        else:
            raise RuntimeError(f"Unrecognized layer: {layer.__class__.__name__}")
        model.add_module(name, layer)
        if name == "conv_3":
            content_loss = ContentLoss(model(content_img).detach())
            model.add_module(f"content_loss_{i}", content_loss)
            content_losses.append(content_loss)
        if name.startswith("relu"):
            style_loss = StyleLoss(model(style_img).detach())
            model.add_module(f"style_loss_{i}", style_loss)
            style_losses.append(style_loss)
    return model, style_losses, content_losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--style-weight", type=float, default=1000)
    parser.add_argument("--content-weight", type=float, default=0.02)
    parser.add_argument("--quick", action="store_true", help="few steps on small pictures, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.steps, args.size = 20, 16
    torch.manual_seed(args.seed)

    layers, channels = [], 3
    for width in (16, 32, 32):
        conv = nn.Conv2d(channels, width, 3, padding=1)
        nn.init.orthogonal_(conv.weight, gain=2**0.5)
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU(), nn.AvgPool2d(2)]
        channels = width
    cnn = nn.Sequential(*layers[:-1]).eval()

    content_img, style_img = pictures(args.size)
    model, style_losses, content_losses = get_style_model_and_losses(cnn, style_img, content_img)
    input_img = content_img.clone()
    input_img.requires_grad_(True)
    model.eval()
    model.requires_grad_(False)
    optimizer = optim.LBFGS([input_img])
    run, first = [0], None
    while run[0] <= args.steps:

        def closure():
            with torch.no_grad():
                input_img.clamp_(0, 1)
            optimizer.zero_grad()
            model(input_img)
            style_score = 0
            content_score = 0
            for sl in style_losses:
                style_score += sl.loss
            for cl in content_losses:
                content_score += cl.loss
            style_score *= args.style_weight
            content_score *= args.content_weight
            loss = style_score + content_score
            loss.backward()
            run[0] += 1
            if run[0] % 50 == 0 or run[0] == 1:
                print(f"run {run[0]}: style loss {style_score.item():.6f}, content loss {content_score.item():.6f}")
            return style_score + content_score

        loss = optimizer.step(closure)
        first = loss.item() if first is None else first
    with torch.no_grad():
        input_img.clamp_(0, 1)
        model(input_img)
        last = sum(sl.loss for sl in style_losses) * args.style_weight
    print(f"colours {[round(v, 3) for v in input_img.detach().numpy().mean(axis=(0, 2, 3)).tolist()]}")
    print(f"style loss {last.item():.5f} (at the start {first:.5f})")


if __name__ == "__main__":
    main()
