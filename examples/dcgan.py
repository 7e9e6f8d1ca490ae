"""A small DCGAN (Radford, Metz & Chintala 2016): two convolutional networks, one draws digits, one judges them."""

import argparse

import torch
import torch.nn as nn
import torch.optim as optim
from _digits import load_digits
from torch.utils.data import DataLoader, TensorDataset


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        nn.init.normal_(m.weight.data, 1.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


class Generator(nn.Module):
    def __init__(self, nz, ngf):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 2, 2, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input):
        return self.main(input)


class Discriminator(nn.Module):
    def __init__(self, ndf):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 2, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, input):
        return self.main(input).view(-1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--nz", type=int, default=16, help="size of the latent vector")
    parser.add_argument("--nf", type=int, default=16, help="channels of the widest pictures")
    parser.add_argument("--lr", type=float, default=0.0005)
    parser.add_argument("--quick", action="store_true", help="one epoch, for a quick look")
    parser.add_argument("--seed", type=int, default=999)
    args = parser.parse_args()
    epochs = 1 if args.quick else args.epochs
    torch.manual_seed(args.seed)

    pictures, digits = load_digits()
    loader = DataLoader(
        TensorDataset(pictures * 2 - 1, digits), batch_size=args.batch_size, shuffle=True, drop_last=args.quick
    )
    netG, netD = Generator(args.nz, args.nf), Discriminator(args.nf)
    netG.apply(weights_init)
    netD.apply(weights_init)
    criterion = nn.BCELoss()
    fixed_noise = torch.randn(4, args.nz, 1, 1)
    real_label, fake_label = 1.0, 0.0
    optimizerD = optim.Adam(netD.parameters(), lr=args.lr, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=args.lr, betas=(0.5, 0.999))

    for epoch in range(epochs):
        for i, data in enumerate(loader):
            # The judge: maximise log(D(x)) + log(1 - D(G(z))).
            netD.zero_grad()
            real = data[0]
            b_size = real.size(0)
            label = torch.full((b_size,), real_label, dtype=torch.float)
            output = netD(real)
            errD_real = criterion(output, label)
            errD_real.backward()
            D_x = output.mean().item()

            noise = torch.randn(b_size, args.nz, 1, 1)
            fake = netG(noise)
            label.fill_(fake_label)
            output = netD(fake.detach())
            errD_fake = criterion(output, label)
            errD_fake.backward()
            D_G_z1 = output.mean().item()
            errD = errD_real + errD_fake
            optimizerD.step()

            # The painter: maximise log(D(G(z))).
            netG.zero_grad()
            label.fill_(real_label)
            output = netD(fake)
            errG = criterion(output, label)
            errG.backward()
            D_G_z2 = output.mean().item()
            optimizerG.step()
        print(
            f"[{epoch + 1}/{epochs}] loss D {errD.item():.4f}  loss G {errG.item():.4f}  "
            f"D(x) {D_x:.3f}  D(G(z)) {D_G_z1:.3f} / {D_G_z2:.3f}"
        )

    with torch.no_grad():
        fake = netG(fixed_noise).detach().cpu()
    for rows in zip(*((fake[:, 0] + 1) / 2).tolist(), strict=True):
        print("   ".join("".join(" .:-=+*#%@"[min(int(v * 10), 9)] for v in row) for row in rows))
    print(f"loss of D {errD.item():.3f}, of G {errG.item():.3f}")


if __name__ == "__main__":
    main()
